import { Type } from 'typebox';
import { flag } from '../../config/schemas.ts';
import { shortFingerprint } from '../../crypto/crypt-config.ts';
import type { BackupSnapshot } from '../../format/backup-path.ts';
import { parameters, type Properties } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotOrGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenNamespace, requiredRepository } from '../connect.ts';
import type { OpenedKey } from '../encryption-key.ts';
import { givenKey, openGivenKey } from '../given-key.ts';
import { newestSnapshot } from '../listings.ts';
import { archiveFileName, holdsKey, restoreArchive } from '../restore.ts';
import type { ServerConnection } from '../server-connection.ts';
import { downloadManifest, identityWarning, requireManifestKey } from '../snapshot-contents.ts';
import { cryptModeOption, keyOptions, rateOptions, targetOptions } from './options.ts';

const off = { default: false } as const;

const restoreOptions: Properties = {
  ...targetOptions,
  ...keyOptions,
  ...cryptModeOption,
  ...rateOptions,
  'allow-existing-dirs': flag('Do not fail if directories already exists.', off),
  'ignore-acls': flag('ignore acl settings', off),
  'ignore-extract-device-errors': flag('ignore errors that occur during device node extraction', off),
  'ignore-ownership': flag('ignore owner settings (no chown)', off),
  'ignore-permissions': flag('ignore permission settings (no chmod)', off),
  'ignore-xattrs': flag('ignore xattr settings', off),
  overwrite: flag('overwrite already existing files', off),
  'overwrite-files': flag('overwrite already existing files', off),
  'overwrite-hardlinks': flag('overwrite already existing entries by archives hardlink', off),
  'overwrite-symlinks': flag('overwrite already existing entries by archives symlink', off),
  pattern: Type.Array(Type.String({ pattern: '^.+[^\\\\]$' }), { description: 'Path or match pattern to limit files that get restored.' }),
  'prelude-target': Type.String({ description: 'Path to restore prelude to, (pxar v2 archives only).' }),
};

async function chosenSnapshot(context: ClientContext, connection: ServerConnection, ns: string, text: string): Promise<BackupSnapshot> {
  const path = parseSnapshotOrGroupPath(text);
  return 'snapshot' in path ? path.snapshot : newestSnapshot(connection, ns, path.group, context.stderr);
}

async function restoreFrom(context: ClientContext, connection: ServerConnection, given: Parameters, key: OpenedKey | null): Promise<void> {
  const crypt = key?.crypt ?? null;
  const { stderr, stdoutBytes, drawsProgress, output, clock } = context;
  const ns = givenNamespace(context, given);
  const fileName = archiveFileName(given['archive-name'] as string);
  const snapshot = await chosenSnapshot(context, connection, ns, given['snapshot'] as string);
  const reader = await connection.openReader(ns, snapshot);
  try {
    const manifest = await downloadManifest(reader, crypt);
    const warning = identityWarning(manifest.manifest, snapshot);
    if (warning !== null) stderr.write(`${warning}\n`);
    if (crypt === null && holdsKey(fileName)) {
      stderr.write('Restoring encrypted key blob without original key - skipping manifest fingerprint check!\n');
    } else {
      if (manifest.manifest.signature !== null && key !== null) stderr.write(`${key.source.text}\nFingerprint: ${shortFingerprint(key.crypt.fingerprint)}\n`);
      requireManifestKey(manifest.manifest, crypt);
    }
    await restoreArchive(
      { fileName, target: given['target'] as string, hasPatterns: given['pattern'] !== undefined },
      { reader, manifest, crypt, stdout: stdoutBytes, progress: { stderr, drawsProgress, width: output.width, clock } },
    );
  } finally {
    reader.close();
  }
}

const restore: ClientCommand = {
  words: ['restore'],
  description: 'Restore backup repository.',
  parameters: parameters(
    {
      snapshot: Type.String({ description: 'Group/Snapshot path.' }),
      'archive-name': Type.String({ description: 'Backup archive name.' }),
      target: Type.String({ description: "Target directory path. Use '-' to write to standard output.\n\nWe do not extract '.pxar' archives when writing to standard output." }),
    },
    restoreOptions,
  ),
  positional: ['snapshot', 'archive-name', 'target'],
  run: async (context, given) => {
    const repository = await requiredRepository(context, given);
    await abortable(context.interrupts, async (signal) => {
      const source = await givenKey(context, given);
      // What can be refused without asking anybody is refused first.
      archiveFileName(given['archive-name'] as string);
      parseSnapshotOrGroupPath(given['snapshot'] as string);
      const connection = await connect(context, repository, given, { signal });
      try {
        await restoreFrom(context, connection, given, await openGivenKey(context, source));
      } finally {
        connection.close();
      }
    });
  },
};

export const restoreCommands: readonly ClientCommand[] = [restore];
