import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { flag } from '../../config/schemas.ts';
import { quotedPath } from '../../datastore/store-error.ts';
import { encodeBlobAsync } from '../../format/data-blob.ts';
import type { QueryParameters } from '../../protocol/query.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { show, sortedJson } from '../../terminal/output.ts';
import { parseSnapshotPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { givenNamespace, withConnection } from '../connect.ts';
import { givenKey, openGivenKey } from '../given-key.ts';
import { isText } from '../is-text.ts';
import { fetchList, namespaceQuery, snapshotQuery } from '../listings.ts';
import { dryRunOption, showRemovals } from '../removal-preview.ts';
import { systemErrorText } from '../system-error-text.ts';
import { cryptModeOption, keyOptions, targetOptions } from './options.ts';

/** What is done to one snapshot: forget, notes, protection, its log. */

const snapshotParameter = Type.String({ description: 'Snapshot path: type/id/time.' });

function snapshotParameters(context: ClientContext, given: Parameters): QueryParameters {
  return { ...snapshotQuery(parseSnapshotPath(given['snapshot'] as string)), ...namespaceQuery(givenNamespace(context, given)) };
}

const forget: ClientCommand = {
  words: ['snapshot', 'forget'],
  description: 'Delete a snapshot.',
  parameters: parameters({ snapshot: snapshotParameter }, { ...targetOptions, ...dryRunOption }),
  positional: ['snapshot'],
  run: async (context, given) => {
    const query = snapshotParameters(context, given);
    await withConnection(context, given, async (connection) => {
      if (given['dry-run'] !== true) {
        await connection.deleteOfDatastore('snapshots', query);
        return;
      }
      const { 'backup-time': time, ...group } = query;
      const found = (await fetchList(connection, 'snapshots', group)).filter((entry) => entry['backup-time'] === time);
      if (found.length === 0) throw new ConfigError('config.snapshot', `there is no snapshot '${String(given['snapshot'])}'`);
      showRemovals(context, found);
    });
  },
};

/** A command that shows one property: as it is for people, in an object for programs. */
function showCommand(name: 'notes' | 'protected', description: string): ClientCommand {
  return {
    words: ['snapshot', name, 'show'],
    description,
    parameters: parameters({ snapshot: snapshotParameter }, { ...targetOptions, ...outputFormatOption }),
    positional: ['snapshot'],
    run: async (context, given) => {
      const query = snapshotParameters(context, given);
      const data = await withConnection(context, given, async (connection) => connection.getOfDatastore(name, query));
      if (isText(context, given)) context.stdout.write(`${String(data)}\n`);
      else show({ kind: 'object', fields: [] }, { [name]: data }, given['output-format'], context);
    },
  };
}

/** PUT of one property. */
async function update(context: ClientContext, given: Parameters, name: 'notes' | 'protected'): Promise<void> {
  const query = snapshotParameters(context, given);
  await withConnection(context, given, async (connection) => connection.putToDatastore(name, { ...query, [name]: given[name] }));
}

const updateNotes: ClientCommand = {
  words: ['snapshot', 'notes', 'update'],
  description: 'Set the notes of a snapshot.',
  parameters: parameters({ snapshot: snapshotParameter, notes: Type.String({ description: 'The notes; the first line is shown in lists.' }) }, targetOptions),
  positional: ['snapshot', 'notes'],
  run: async (context, given) => update(context, given, 'notes'),
};

const updateProtected: ClientCommand = {
  words: ['snapshot', 'protected', 'update'],
  description: 'Protect a snapshot from removal, or no longer.',
  parameters: parameters({ snapshot: snapshotParameter, protected: flag('Whether it is protected.') }, targetOptions),
  positional: ['snapshot', 'protected'],
  run: async (context, given) => update(context, given, 'protected'),
};

async function readLog(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (e) {
    throw new ConfigError('config.source', `unable to read ${quotedPath(path)} - ${systemErrorText(e)}`);
  }
}

const uploadLog: ClientCommand = {
  words: ['snapshot', 'upload-log'],
  description: 'Put a log file beside a snapshot, once.',
  parameters: parameters(
    { snapshot: snapshotParameter, logfile: Type.String({ description: 'Path of the log file.' }) },
    { ...targetOptions, ...keyOptions, ...cryptModeOption },
  ),
  positional: ['snapshot', 'logfile'],
  run: async (context, given) => {
    const query = snapshotParameters(context, given);
    const key = await openGivenKey(context, await givenKey(context, given));
    const log = await readLog(given['logfile'] as string);
    // Only a signature cannot be put on a log.
    const crypt = given['crypt-mode'] === 'sign-only' ? undefined : key?.crypt;
    const blob = await encodeBlobAsync(log, { compress: true, crypt });
    const data = await withConnection(context, given, async (connection) => connection.uploadToDatastore('upload-backup-log', query, blob));
    context.stdout.write(`Result: ${sortedJson({ data: data ?? null }, true)}\n`);
  },
};

export const snapshotCareCommands: readonly ClientCommand[] = [
  forget,
  showCommand('notes', 'Show the notes of a snapshot.'),
  updateNotes,
  showCommand('protected', 'Show whether a snapshot is protected.'),
  updateProtected,
  uploadLog,
];
