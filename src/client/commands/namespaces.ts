import { ConfigError } from '../../base/errors.ts';
import { flag, wholeNumber } from '../../config/schemas.ts';
import { namespaceComponents, parentNamespace } from '../../format/backup-path.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { givenNamespace, withConnection } from '../connect.ts';
import { isText } from '../is-text.ts';
import { fetchList, listEntries, namespaceQuery } from '../listings.ts';
import { dryRunOption, showRemovals } from '../removal-preview.ts';
import type { ServerConnection } from '../server-connection.ts';
import { namespaceOption, repositoryOptions } from './options.ts';

const list: ClientCommand = {
  words: ['namespace', 'list'],
  description: 'List namespaces of the datastore.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions, ...outputFormatOption, 'max-depth': wholeNumber('How many levels to go down.', { minimum: 0 }) }),
  positional: ['ns'],
  run: async (context, given) => {
    const parent = givenNamespace(context, given);
    const maxDepth = given['max-depth'] as number | undefined;
    const reply = await withConnection(context, given, async (connection) =>
      connection.getReplyOfDatastore('namespace', { ...(parent === '' ? {} : { parent }), ...(maxDepth === undefined ? {} : { 'max-depth': maxDepth }) }),
    );
    if (!isText(context, given)) {
      show({ kind: 'list', columns: [] }, reply, given['output-format'], context);
      return;
    }
    for (const { ns, comment } of listEntries(reply.data, 'namespace')) {
      if (typeof ns === 'string' && ns !== '') context.stdout.write(`${ns}${typeof comment === 'string' ? ` (${comment})` : ''}\n`);
    }
  },
};

const create: ClientCommand = {
  words: ['namespace', 'create'],
  description: 'Create a namespace.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions }),
  positional: ['ns'],
  run: async (context, given) => {
    const ns = givenNamespace(context, given);
    if (ns === '') throw new ConfigError('config.namespace', 'root namespace is always present');
    await withConnection(context, given, async (connection) => connection.postToDatastore('namespace', { parent: parentNamespace(ns) ?? '', name: namespaceComponents(ns).at(-1) }));
  },
};

/** Lists only, so it works with every server. */
async function preview(context: ClientContext, connection: ServerConnection, anchor: string, withGroups: boolean): Promise<void> {
  const { data } = await connection.getReplyOfDatastore('namespace', { parent: anchor });
  const namespaces = listEntries(data, 'namespace').map(({ ns }) => ns).filter((ns) => typeof ns === 'string');
  // What lies deepest goes first; what keeps something stays, and what is above it.
  let kept: string[] = [];
  for (const ns of namespaces.toSorted((a, b) => b.split('/').length - a.split('/').length)) {
    const groups = await fetchList(connection, 'groups', namespaceQuery(ns));
    const snapshots = withGroups && groups.length > 0 ? await fetchList(connection, 'snapshots', namespaceQuery(ns)) : [];
    showRemovals(context, snapshots, `${ns}:`);
    const why =
      groups.length > 0 && !withGroups ? `it has ${groups.length} group(s); --delete-groups removes them, too`
      : snapshots.some((one) => one['protected'] === true) ? 'it has protected snapshots'
      : kept.some((one) => one.startsWith(`${ns}/`)) ? 'a namespace in it would stay'
      : null;
    if (why !== null) kept = [...kept, ns];
    context.stdout.write(why === null ? `would remove namespace ${ns}\n` : `would keep namespace ${ns}: ${why}\n`);
  }
}

const remove: ClientCommand = {
  words: ['namespace', 'delete'],
  description: 'Delete a namespace.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions, 'delete-groups': flag('Delete all groups in it and below.'), ...dryRunOption }),
  positional: ['ns'],
  run: async (context, given) => {
    const ns = givenNamespace(context, given);
    if (ns === '') throw new ConfigError('config.namespace', 'root namespace cannot be deleted');
    const withGroups = given['delete-groups'] as boolean | undefined;
    if (given['dry-run'] === true) {
      await withConnection(context, given, async (connection) => preview(context, connection, ns, withGroups === true));
      return;
    }
    await withConnection(context, given, async (connection) => connection.deleteOfDatastore('namespace', { ns, ...(withGroups === undefined ? {} : { 'delete-groups': withGroups }) }));
  },
};

export const namespaceCommands: readonly ClientCommand[] = [create, list, remove];
