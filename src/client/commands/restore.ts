import { Type } from 'typebox';
import { ConfigError, FormatError } from '../../base/errors.ts';
import { flag } from '../../config/schemas.ts';
import { shortFingerprint } from '../../crypto/crypt-config.ts';
import { MatchPattern } from '../../pxar/match-pattern.ts';
import { parameters, type Properties } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotOrGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenNamespace, requiredRepository } from '../connect.ts';
import type { OpenedKey } from '../encryption-key.ts';
import { givenKey, openGivenKey } from '../given-key.ts';
import { chosenSnapshot } from '../open-snapshot.ts';
import { archiveFileName, holdsKey, restoreArchive } from '../restore.ts';
import type { TreeRestore } from '../restore-tree.ts';
import type { ServerConnection } from '../server-connection.ts';
import { downloadManifest, identityWarning, requireManifestKey } from '../snapshot-contents.ts';
import { SteadyReader } from '../steady-reader.ts';
import { cryptModeOption, keyOptions, rateOptions, targetOptions } from './options.ts';

const off = { default: false } as const;

const restoreOptions: Properties = {
  ...targetOptions,
  ...keyOptions,
  ...cryptModeOption,
  ...rateOptions,
  'allow-existing-dirs': flag('Do not fail if directories already exists.', off),
  'ignore-acls': flag('ignore acl settings', off),
  'ignore-corrupt-chunks': flag('go on without what is in damaged chunks, and say what that is', off),
  'ignore-extract-device-errors': flag('ignore errors that occur during device node extraction', off),
  'ignore-missing-chunks': flag('go on without what is in chunks that the server does not have, and say what that is', off),
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

function includePattern(text: string): MatchPattern {
  try {
    return MatchPattern.parse(text, 'include');
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `error parsing match pattern: ${e.message}`);
  }
}

function treeRestore(given: Parameters): TreeRestore {
  const isOn = (name: string): boolean => given[name] === true;
  const all = isOn('overwrite');
  return {
    patterns: ((given['pattern'] as string[] | undefined) ?? []).map(includePattern),
    allowExistingDirectories: isOn('allow-existing-dirs'),
    overwrite: { files: all || isOn('overwrite-files'), symlinks: all || isOn('overwrite-symlinks'), hardLinks: all || isOn('overwrite-hardlinks') },
    ignore: {
      acls: isOn('ignore-acls'),
      xattrs: isOn('ignore-xattrs'),
      ownership: isOn('ignore-ownership'),
      permissions: isOn('ignore-permissions'),
      deviceErrors: isOn('ignore-extract-device-errors'),
    },
    lostChunks: { ignoreCorrupt: isOn('ignore-corrupt-chunks'), ignoreMissing: isOn('ignore-missing-chunks') },
    preludeTarget: (given['prelude-target'] as string | undefined) ?? null,
  };
}

async function restoreFrom(context: ClientContext, connection: ServerConnection, given: Parameters, key: OpenedKey | null, signal: AbortSignal): Promise<void> {
  const crypt = key?.crypt ?? null;
  const tree = treeRestore(given);
  const { stderr, stdoutBytes, drawsProgress, output, clock } = context;
  const ns = givenNamespace(context, given);
  const fileName = archiveFileName(given['archive-name'] as string);
  const snapshot = await chosenSnapshot(context, connection, ns, given['snapshot'] as string);
  const reader = await SteadyReader.open({ open: async () => connection.openReader(ns, snapshot), stderr, pause: context.pause });
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
      { fileName, target: given['target'] as string, tree },
      { signal, reader, manifest, crypt, stdout: stdoutBytes, progress: { stderr, drawsProgress, width: output.width, clock } },
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
      treeRestore(given);
      const connection = await connect(context, repository, given, { signal });
      try {
        await restoreFrom(context, connection, given, await openGivenKey(context, source), signal);
      } finally {
        connection.close();
      }
    });
  },
};

export const restoreCommands: readonly ClientCommand[] = [restore];
