import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { backupId, backupTime, flag, oneOf, wholeNumber } from '../../config/schemas.ts';
import type { BackupSnapshot, BackupType } from '../../format/backup-path.ts';
import { described, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { abortable } from '../abortable.ts';
import { openProtection, protectionSource } from '../backup/backup-key.ts';
import { runBackup } from '../backup/run.ts';
import { backupSources, sourcePattern } from '../backup/source.ts';
import { treeOptions } from '../backup/tree-options.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenNamespace, requiredRepository } from '../connect.ts';
import { cryptModeOption, keyOptions, rateOptions, targetOptions } from './options.ts';

const kibibyte = 1024;
const defaultChunkKib = 4096;
const chunkKibs = [64, 128, 256, 512, 1024, 2048, 4096];

const off = { default: false } as const;

const sourceText = `List of backup source specifications:

[<archive-name>.<type>:<source-path>] ...

The 'archive-name' must only contain alphanumerics, hyphens and underscores while the 'type' must be either 'pxar', 'img', 'conf' or 'log'.`;

function snapshotOf(context: ClientContext, given: Parameters): BackupSnapshot {
  return {
    type: (given['backup-type'] as BackupType | undefined) ?? 'host',
    id: (given['backup-id'] as string | undefined) ?? context.hostName.split('.')[0]!,
    time: (given['backup-time'] as number | undefined) ?? Math.floor(context.clock.now() / 1000),
  };
}

function chunkSizeOf(given: Parameters): number {
  const kib = (given['chunk-size'] as number | undefined) ?? defaultChunkKib;
  if (!chunkKibs.includes(kib)) throw new ConfigError('config.chunk-size', `Got unsupported chunk size '${kib * kibibyte}'`, { hint: `it is one of ${chunkKibs.join(', ')} KiB` });
  return kib * kibibyte;
}

const backup: ClientCommand = {
  words: ['backup'],
  description: 'Back up directory trees, images and files into a new snapshot.',
  parameters: parameters(
    { backupspec: Type.Array(Type.String({ pattern: sourcePattern }), { description: sourceText }) },
    {
      ...targetOptions,
      ...keyOptions,
      ...cryptModeOption,
      ...rateOptions,
      'all-file-systems': flag('Include all mounted subdirectories.', off),
      'backup-id': described(backupId, 'Backup ID; the name of this host if not given.'),
      'backup-time': described(backupTime, 'Backup time (Unix epoch); now if not given.'),
      'backup-type': oneOf(['vm', 'ct', 'host'], 'Backup type.'),
      'change-detection-mode': oneOf(['legacy', 'data', 'metadata'], 'How to find out which files have changed since the last backup.', { default: 'legacy' }),
      'chunk-size': wholeNumber('Chunk size in KiB, a power of 2. Servers take images only in chunks of 4096.', { minimum: 64, maximum: 4096, default: defaultChunkKib }),
      'dry-run': flag('Only show what would be backed up.', off),
      'entries-max': wholeNumber('Max number of entries to hold in memory.', { default: 1_048_576 }),
      exclude: Type.Array(Type.String(), { description: 'Paths or patterns of files to leave out.' }),
      'include-dev': Type.Array(Type.String(), { description: 'Include the file systems that these files are on.' }),
      'master-pubkey-fd': wholeNumber('Pass a master public key via an already opened file descriptor.', { minimum: 0 }),
      'master-pubkey-file': Type.String({ description: 'Path to master public key: the encryption key is put beside the backup, encrypted for its holder.' }),
      'no-cache': flag('Bypass local datastore cache for network storages.', off),
      'skip-e2big-xattr': flag('Leave out extended attributes that are too large to be read, instead of failing.', off),
      'skip-lost-and-found': flag('Skip lost+found directory.', off),
    },
  ),
  positional: ['backupspec'],
  run: async (context, given) => {
    const repository = await requiredRepository(context, given);
    const chunkSize = chunkSizeOf(given);
    const protectedBy = await protectionSource(context, given);
    const tree = await treeOptions(given, context.stderr);
    const sources = await backupSources(given['backupspec'] as string[], context.stderr);
    const ns = givenNamespace(context, given);
    await abortable(context.interrupts, async (signal) => {
      const connection = await connect(context, repository, given, { signal });
      try {
        await runBackup(context, connection, {
          ns,
          snapshot: snapshotOf(context, given),
          sources,
          protection: await openProtection(context, protectedBy),
          tree,
          chunkSize,
          isDryRun: given['dry-run'] === true,
          noCache: given['no-cache'] === true,
        }, signal);
      } finally {
        connection.close();
      }
    });
  },
};

export const backupCommands: readonly ClientCommand[] = [backup];
