import { groupText, snapshotText } from '../format/backup-path.ts';
import type { Completion, Parameters } from '../terminal/command.ts';
import { parseSnapshotOrGroupPath } from './backup-paths.ts';
import type { ClientCommand, ClientContext } from './client-context.ts';
import { connect, explicitNamespace, requiredRepository } from './connect.ts';
import { archiveNames, fetchList, inOrder, namespaceQuery, newestSnapshot, snapshotOf, snapshotQuery } from './listings.ts';
import { repositoriesByUse } from './repository-list.ts';
import type { ServerConnection } from './server-connection.ts';

/** Candidates for values, asked of the server that the line and the environment name. */

type ClientCompletion = Completion<ClientContext>;

const silent = { write: () => {} };
const nobody = {
  canAsk: false,
  secret: () => Promise.reject(new Error('completion asks nobody')),
  line: () => Promise.reject(new Error('completion asks nobody')),
  answer: () => Promise.resolve(''),
};

/** Whoever is in the middle of a line sees no message and no question. */
function quiet(context: ClientContext): ClientContext {
  return { ...context, stderr: silent, prompter: nobody };
}

/** Options as the line has them: text, unchecked. */
function onLine(given: Parameters): Parameters {
  return given['port'] === undefined ? given : { ...given, port: Number(given['port']) };
}

async function asked<T>(context: ClientContext, given: Parameters, ask: (connection: ServerConnection) => Promise<T>): Promise<T> {
  const own = quiet(context);
  const options = onLine(given);
  const connection = await connect(own, await requiredRepository(own, options), options);
  try {
    return await ask(connection);
  } finally {
    connection.close();
  }
}

const repositories: ClientCompletion = async (context) => repositoriesByUse(context.folders.cache);

const namespaces: ClientCompletion = async (context, given) =>
  asked(context, given, async (connection) => (await fetchList(connection, 'namespace', {})).map(({ ns }) => String(ns)).filter((ns) => ns !== ''));

const groups: ClientCompletion = async (context, given) =>
  asked(context, given, async (connection) => (await fetchList(connection, 'groups', namespaceQuery(explicitNamespace(given)))).map((entry) => `${String(entry['backup-type'])}/${String(entry['backup-id'])}`));

async function snapshotList(context: ClientContext, given: Parameters): Promise<Array<ReturnType<typeof snapshotOf>>> {
  return asked(context, given, async (connection) => inOrder(await fetchList(connection, 'snapshots', namespaceQuery(explicitNamespace(given)))).map((entry) => snapshotOf(entry)));
}

const snapshots: ClientCompletion = async (context, given) => (await snapshotList(context, given)).map((snapshot) => snapshotText(snapshot));

const groupsAndSnapshots: ClientCompletion = async (context, given) => {
  const all = await snapshotList(context, given);
  return [...new Set(all.map((snapshot) => groupText(snapshot))), ...all.map((snapshot) => snapshotText(snapshot))];
};

/** Archives of the snapshot on the line, of a group those of its newest one. */
const archives: ClientCompletion = async (context, given) => {
  const path = parseSnapshotOrGroupPath((given['snapshot'] ?? given['snapshot-a'] ?? '') as string);
  const ns = explicitNamespace(given);
  return asked(context, given, async (connection) => {
    const snapshot = 'snapshot' in path ? path.snapshot : await newestSnapshot(connection, ns, path.group, silent);
    return archiveNames(await fetchList(connection, 'files', { ...snapshotQuery(snapshot), ...namespaceQuery(ns) })).split(' ');
  });
};

const chunkSizes: ClientCompletion = async () => ['64', '128', '256', '512', '1024', '2048', '4096'];

/** By the name of the parameter, which means the same in every command. */
const byName: ReadonlyMap<string, ClientCompletion> = new Map([
  ['repository', repositories],
  ['ns', namespaces],
  ['ns-b', namespaces],
  ['target-ns', namespaces],
  ['group', groups],
  ['archive-name', archives],
  ['chunk-size', chunkSizes],
]);

function completionOf(name: string, description: string): ClientCompletion | undefined {
  // Some commands take a group for its newest snapshot; their descriptions say so.
  if (/^snapshot(?:-[ab])?$/.test(name)) return description.startsWith('Group/') ? groupsAndSnapshots : snapshots;
  return byName.get(name);
}

/** The command with completions of its values. */
export function withCompletions(command: ClientCommand): ClientCommand {
  const properties = Object.entries(command.parameters.properties as Record<string, { description?: string }>);
  const found = properties.map(([name, { description = '' }]) => [name, completionOf(name, description)] as const).filter((entry): entry is readonly [string, ClientCompletion] => entry[1] !== undefined);
  return { ...command, completions: { ...Object.fromEntries(found), ...command.completions } };
}
