import { Type } from 'typebox';
import { AbortedError, errorChain, HttpError } from '../../base/errors.ts';
import { backupId, backupType, datastoreName, namespace, remoteName } from '../../config/schemas.ts';
import { scalarProblem } from '../../config/schema-check.ts';
import { diagnose } from '../../protocol/diagnosis.ts';
import type { QueryParameters } from '../../protocol/query.ts';
import { RestClient } from '../../protocol/rest-client.ts';
import { jsonEndpoint, type Endpoint, type Permission } from '../endpoint.ts';
import { remoteEndpoint, type RemoteParts } from '../remote-connection.ts';

/** A list of some hundred thousand groups. */
const maxReplyBytes = 64 * 1024 * 1024;
const permission: Permission = { kind: 'privilege', path: '/remote/{name}', privileges: ['Remote.Audit'] };

/** One thing in a remote's list, checked no further than that it is an object. */
type Item = Readonly<Record<string, unknown>>;

/** `/config/remote/{name}/scan…` (spec sync 1.2): what the remote's account may see there. */
export function remoteScanEndpoints(parts: RemoteParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/remote/{name}/scan',
      description: "List the remote's datastores.",
      parameters: Type.Object({ name: remoteName }),
      permission,
      handler: async ({ name }) => scan(parts, name, 'admin/datastore', {}, storeItem),
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/remote/{name}/scan/{store}/groups',
      description: "List the groups in a namespace of the remote's datastore.",
      parameters: Type.Object({ name: remoteName, store: datastoreName, namespace: Type.Optional(namespace) }),
      permission,
      handler: async ({ name, store, namespace: ns }) => scan(parts, name, `admin/datastore/${store}/groups`, { ns }, groupItem),
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/remote/{name}/scan/{store}/namespaces',
      description: "List the namespaces of the remote's datastore.",
      parameters: Type.Object({ name: remoteName, store: datastoreName }),
      permission,
      handler: async ({ name, store }) => scan(parts, name, `admin/datastore/${store}/namespace`, {}, namespaceItem),
    }),
  ];
}

/** Asks the remote; HttpError 500 `failed to scan remote 'x' - cause` for whatever goes wrong there, with the command that mends it as hint. */
async function scan<T>(parts: RemoteParts, name: string, path: string, query: QueryParameters, itemOf: (item: Item) => T): Promise<T[]> {
  const endpoint = remoteEndpoint(parts, name);
  const rest = new RestClient(endpoint, { maxReplyBytes });
  try {
    const { data } = await rest.get(path, query);
    if (!Array.isArray(data)) throw new HttpError(502, 'the remote answered with something that is not a list');
    return data.map((item: unknown) => itemOf(objectOf(item)));
  } catch (e) {
    if (e instanceof AbortedError) throw e;
    const { hint } = diagnose(e, endpoint, { remoteName: name });
    throw new HttpError(500, `failed to scan remote '${name}' - ${errorChain(e)}`, { cause: e, ...(hint === undefined ? {} : { hint }) });
  } finally {
    rest.close();
  }
}

function objectOf(value: unknown): Item {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new HttpError(502, 'the remote answered with a list of something else than objects');
  return value as Item;
}

function required(item: Item, name: string, schema: Parameters<typeof scalarProblem>[0]): string {
  const value = item[name];
  const problem = scalarProblem(schema, value);
  if (problem !== null) throw new HttpError(502, `the remote's list has a bad '${name}': ${problem}`);
  return value as string;
}

function text(item: Item, name: string): string | undefined {
  const value = item[name];
  return typeof value === 'string' ? value : undefined;
}

/** Without the properties that are undefined. */
function given(properties: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

function storeItem(item: Item): unknown {
  return given({
    store: required(item, 'store', datastoreName),
    comment: text(item, 'comment') ?? null,
    // Servers before 4.0 have neither.
    'mount-status': text(item, 'mount-status') ?? 'nonremovable',
    maintenance: text(item, 'maintenance'),
    'backend-type': text(item, 'backend-type') ?? 'filesystem',
  });
}

function groupItem(item: Item): unknown {
  const count = (name: string): number => (Number.isSafeInteger(item[name]) ? (item[name] as number) : 0);
  const files = Array.isArray(item['files']) ? item['files'].filter((file) => typeof file === 'string') : [];
  return given({
    'backup-type': required(item, 'backup-type', backupType),
    'backup-id': required(item, 'backup-id', backupId),
    'last-backup': count('last-backup'),
    'backup-count': count('backup-count'),
    files,
    owner: text(item, 'owner'),
    comment: text(item, 'comment'),
  });
}

function namespaceItem(item: Item): unknown {
  return given({ ns: required(item, 'ns', namespace), comment: text(item, 'comment') });
}
