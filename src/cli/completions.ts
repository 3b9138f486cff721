import type { ApiConnection } from './api-connection.ts';
import type { Completion } from './command.ts';

/** Candidates for values (spec manager-cli 5). */

async function listField(api: ApiConnection, path: string, field: string, sent: Record<string, unknown> = {}): Promise<string[]> {
  const { data } = await api.call('GET', path, sent);
  if (!Array.isArray(data)) return [];
  return (data as Array<Record<string, unknown>>).map((entry) => entry[field]).filter((value) => typeof value === 'string');
}

export const userIds: Completion = async (api) => listField(api, '/access/users', 'userid');

export const tokenNames: Completion = async (api, given) =>
  listField(api, '/access/users/{userid}/token', 'token-name', { userid: given['userid'] });

export const authIds: Completion = async (api) => {
  const { data } = await api.call('GET', '/access/users', { include_tokens: true });
  const users = Array.isArray(data) ? (data as Array<{ userid: string; tokens?: Array<{ tokenid: string }> }>) : [];
  return users.flatMap((user) => [user.userid, ...(user.tokens ?? []).map((token) => token.tokenid)]);
};

export const datastores: Completion = async (api) => listField(api, '/config/datastore', 'name');

export const remotes: Completion = async (api) => listField(api, '/config/remote', 'name');

export const encryptionKeys: Completion = async (api) => listField(api, '/config/encryption-keys', 'id', { 'include-archived': true });

export const syncJobs: Completion = async (api) => listField(api, '/config/sync', 'id', { 'sync-direction': 'all' });

export const pruneJobs: Completion = async (api) => listField(api, '/config/prune', 'id');

export const verifyJobs: Completion = async (api) => listField(api, '/config/verify', 'id');

export const trafficRules: Completion = async (api) => listField(api, '/config/traffic-control', 'name');

export const calendarEvents: Completion = async () => ['minutely', 'hourly', 'daily', 'mon..fri', '0:0'];

export const aclPaths: Completion = async (api) => {
  const stores = await listField(api, '/config/datastore', 'name');
  const names = await listField(api, '/config/remote', 'name');
  return ['/', '/datastore', '/datastore/', ...stores.map((name) => `/datastore/${name}`), '/remote', '/remote/', ...names.map((name) => `/remote/${name}`)];
};

export const taskIds: Completion = async (api) => listField(api, '/nodes/localhost/tasks', 'upid', { running: true });

/** Remote and remote datastore of the line, or of the job that the line names. */
async function remoteOf(api: ApiConnection, given: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const named = { name: given['remote'], store: given['remote-store'] };
  if ((named.name !== undefined && named.store !== undefined) || given['id'] === undefined) return named;
  const { data } = await api.call('GET', '/config/sync/{id}', { id: given['id'] });
  const job = data as Record<string, unknown>;
  return { name: named.name ?? job['remote'], store: named.store ?? job['remote-store'] };
}

export const remoteStores: Completion = async (api, given) => {
  const { name } = await remoteOf(api, given);
  return name === undefined ? [] : listField(api, '/config/remote/{name}/scan', 'store', { name });
};

export const remoteNamespaces: Completion = async (api, given) => {
  const { name, store } = await remoteOf(api, given);
  if (name === undefined || store === undefined) return [];
  return listField(api, '/config/remote/{name}/scan/{store}/namespaces', 'ns', { name, store });
};

export const groupFilterTexts: Completion = async (api, given) => {
  const fixed = ['regex:', 'type:ct', 'type:host', 'type:vm'];
  try {
    const { name, store } = await remoteOf(api, given);
    if (name === undefined || store === undefined) return fixed;
    const { data } = await api.call('GET', '/config/remote/{name}/scan/{store}/groups', { name, store, namespace: given['remote-ns'] });
    const groups = Array.isArray(data) ? (data as Array<Record<string, unknown>>) : [];
    return [...fixed, ...groups.map((group) => `group:${String(group['backup-type'])}/${String(group['backup-id'])}`)];
  } catch {
    // A remote that cannot be reached takes nothing from the fixed candidates.
    return fixed;
  }
};

export const namespaces: Completion = async (api, given) => {
  const store = given['store'];
  return store === undefined ? [] : listField(api, '/admin/datastore/{store}/namespace', 'ns', { store });
};
