import { Type } from 'typebox';
import { ConfigError, HttpError, StoreError } from '../../base/errors.ts';
import { flag, keepOptions, wholeNumber } from '../../config/schemas.ts';
import { groupText, snapshotText, type BackupGroup } from '../../format/backup-path.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { show } from '../../terminal/output.ts';
import { timeCell } from '../../terminal/renderers.ts';
import { parseGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { explicitNamespace, givenNamespace, withConnection } from '../connect.ts';
import { isText } from '../is-text.ts';
import { fetchList, groupQuery, inOrder, listEntries, namespaceQuery, snapshotOf } from '../listings.ts';
import { dryRunOption, showRemovals } from '../removal-preview.ts';
import { authIdPattern } from '../repository.ts';
import type { ServerConnection } from '../server-connection.ts';
import { targetOptions } from './options.ts';

const groupParameter = Type.String({ description: 'Backup group: type/id.' });

/** Whether the person wants it: no is what an empty answer means. ConfigError `config.answer` for anything but yes and no. */
async function confirmed(context: ClientContext, question: string): Promise<boolean> {
  context.stdout.write(`${question} [y/N]: `);
  const answer = (await context.prompter.answer()).trim();
  if (answer === '' || answer.toLowerCase() === 'n') return false;
  if (answer.toLowerCase() === 'y') return true;
  throw new ConfigError('config.answer', `unexpected choice '${answer}'! Use enter for default or use 'y' or 'n'`);
}

async function deleteGroup(connection: ServerConnection, ns: string, group: BackupGroup): Promise<void> {
  try {
    await connection.deleteOfDatastore('groups', { ...groupQuery(group), ...namespaceQuery(ns) });
  } catch (e) {
    if (e instanceof HttpError && e.message.includes('ENOENT: No such file or directory')) throw new StoreError('store.no-such-group', 'Unable to find backup group!', { cause: e });
    throw e;
  }
}

const forget: ClientCommand = {
  words: ['group', 'forget'],
  description: 'Delete a backup group with all its snapshots.',
  parameters: parameters({ group: groupParameter }, { ...targetOptions, ...dryRunOption }),
  positional: ['group'],
  run: async (context, given) => {
    const group = parseGroupPath(given['group'] as string);
    const ns = explicitNamespace(given);
    await withConnection(context, given, async (connection) => {
      const snapshots = await fetchList(connection, 'snapshots', { ...groupQuery(group), ...namespaceQuery(ns) });
      if (given['dry-run'] === true) {
        showRemovals(context, snapshots);
        return;
      }
      if (!(await confirmed(context, `Delete group "${groupText(group)}" with ${snapshots.length} snapshot(s)?`))) {
        context.stdout.write('Abort.\n');
        return;
      }
      await deleteGroup(connection, ns, group);
      context.stdout.write('Successfully deleted group!\n');
    });
  },
};

const changeOwner: ClientCommand = {
  words: ['change-owner'],
  description: 'Give a backup group to another owner.',
  parameters: parameters({ group: groupParameter, 'new-owner': Type.String({ pattern: `^${authIdPattern}$`, minLength: 3, maxLength: 64, description: 'User or API token.' }) }, targetOptions),
  positional: ['group', 'new-owner'],
  run: async (context, given) => {
    const group = parseGroupPath(given['group'] as string);
    const ns = givenNamespace(context, given);
    await withConnection(context, given, async (connection) =>
      connection.postToDatastore('change-owner', { ...groupQuery(group), ...namespaceQuery(ns), 'new-owner': given['new-owner'] }),
    );
  },
};

const passedOn = ['dry-run', 'max-depth', ...Object.keys(keepOptions)];

function pruneRequest(given: Parameters): Record<string, unknown> {
  const group = parseGroupPath(given['group'] as string);
  const options = Object.fromEntries(Object.entries(given).filter(([name]) => passedOn.includes(name)));
  return { ...groupQuery(group), ...namespaceQuery(explicitNamespace(given)), ...options };
}

function actionCell(value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'keep' : 'remove') : 'unknown';
}

const prune: ClientCommand = {
  words: ['prune'],
  description: 'Remove the snapshots of a group that the keep options do not keep.',
  parameters: parameters(
    { group: groupParameter },
    {
      ...targetOptions,
      ...outputFormatOption,
      ...keepOptions,
      'dry-run': flag('Only show what would be removed.'),
      'max-depth': wholeNumber('How many levels of namespaces to go down.', { minimum: 0, maximum: 7 }),
      quiet: flag('Show only what is removed.', { default: false }),
    },
  ),
  positional: ['group'],
  run: async (context, given) => {
    const request = pruneRequest(given);
    const data = await withConnection(context, given, async (connection) => connection.postToDatastore('prune', request));
    const all = listEntries(data, 'pruned snapshots');
    const shown = given['quiet'] === true ? all.filter((entry) => entry['keep'] === false) : all;
    const columns = [
      { name: 'backup-id', header: 'snapshot', render: (_: unknown, row: Parameters) => snapshotText(snapshotOf(row)) },
      { name: 'backup-time', header: 'date', type: 'integer', render: timeCell(context.output.timeZone) },
      { name: 'keep', header: 'action', type: 'boolean', render: actionCell },
    ] as const;
    show({ kind: 'list', sort: false, columns }, isText(context, given) ? inOrder(shown) : shown, given['output-format'], context);
  },
};

export const groupCommands: readonly ClientCommand[] = [changeOwner, forget, prune];
