import { Type } from 'typebox';
import { snapshotText } from '../../format/backup-path.ts';
import type { QueryParameters } from '../../protocol/query.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { show, type View } from '../../terminal/output.ts';
import { bytesCell } from '../../terminal/renderers.ts';
import { parseGroupPath, parseSnapshotPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenNamespace, requiredRepository } from '../connect.ts';
import { archiveNames, fetchList, groupQuery, inOrder, namespaceQuery, snapshotOf, snapshotQuery, type ListEntry } from '../listings.ts';
import { isText } from '../is-text.ts';
import { targetOptions } from './options.ts';

/** Fetches a list and shows it: as it came for JSON, in order and with the columns of `view` as text. */
async function showList(context: ClientContext, given: Parameters, path: string, query: QueryParameters, view: View): Promise<void> {
  const connection = await connect(context, await requiredRepository(context, given), given);
  let entries: ListEntry[];
  try {
    entries = await fetchList(connection, path, { ...query, ...namespaceQuery(givenNamespace(context, given)) });
  } finally {
    connection.close();
  }
  show(view, isText(context, given) && view.kind === 'list' && view.sort === false ? inOrder(entries) : entries, given['output-format'], context);
}

const filesColumn = { name: 'files', render: archiveNames } as const;

const listGroups: ClientCommand = {
  words: ['list'],
  description: 'List backup groups.',
  parameters: parameters({}, { ...targetOptions, ...outputFormatOption }),
  positional: [],
  run: async (context, given) =>
    showList(context, given, 'groups', {}, {
      kind: 'list',
      sort: false,
      columns: [
        { name: 'backup-id', header: 'group', render: (_, row) => `${String(row['backup-type'])}/${String(row['backup-id'])}` },
        { name: 'last-backup', header: 'last snapshot', render: (_, row) => snapshotText(snapshotOf(row, 'last-backup')) },
        { name: 'backup-count', type: 'integer' },
        filesColumn,
      ],
    }),
};

const listSnapshots: ClientCommand = {
  words: ['snapshot', 'list'],
  description: 'List backup snapshots.',
  parameters: parameters({}, { group: Type.String({ description: 'Backup group.' }), ...targetOptions, ...outputFormatOption }),
  positional: ['group'],
  run: async (context, given) => {
    const group = given['group'] as string | undefined;
    await showList(context, given, 'snapshots', group === undefined ? {} : groupQuery(parseGroupPath(group)), {
      kind: 'list',
      sort: false,
      columns: [{ name: 'backup-id', header: 'snapshot', render: (_, row) => snapshotText(snapshotOf(row)) }, { name: 'size', type: 'integer', render: bytesCell }, filesColumn],
    });
  },
};

const listFiles: ClientCommand = {
  words: ['snapshot', 'files'],
  description: 'List snapshot files.',
  parameters: parameters({ snapshot: Type.String({ description: 'Snapshot path.' }) }, { ...targetOptions, ...outputFormatOption }),
  positional: ['snapshot'],
  run: async (context, given) => {
    const snapshot = parseSnapshotPath(given['snapshot'] as string);
    await showList(context, given, 'files', snapshotQuery(snapshot), { kind: 'list', columns: [{ name: 'filename' }, { name: 'crypt-mode' }, { name: 'size', type: 'integer' }] });
  },
};

export const snapshotCommands: readonly ClientCommand[] = [listGroups, listSnapshots, listFiles];

/** Commands under another name, spelled out (spec client-cli 1.1). */
export const snapshotAliases: ReadonlyMap<string, readonly string[]> = new Map([
  ['files', ['snapshot', 'files']],
  ['forget', ['snapshot', 'forget']],
  ['snapshots', ['snapshot', 'list']],
  ['upload-log', ['snapshot', 'upload-log']],
]);
