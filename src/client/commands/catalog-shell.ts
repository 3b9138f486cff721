import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { catalogFileName } from '../../format/backup-path.ts';
import { CatalogReader } from '../../format/catalog.ts';
import { manifestFile } from '../../format/manifest.ts';
import { parameters } from '../../terminal/command-parameters.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotOrGroupPath } from '../backup-paths.ts';
import type { ClientCommand } from '../client-context.ts';
import { requiredRepository } from '../connect.ts';
import { openChunks, openSnapshot, openTree, treeFiles, type OpenSnapshot, type OpenTree } from '../open-snapshot.ts';
import { archiveFileName } from '../restore.ts';
import { CommandAbort, runShell } from '../shell/run-shell.ts';
import { ArchiveNames, CatalogNames, ShellTree, type NameTree } from '../shell/shell-tree.ts';
import { keyOptions, targetOptions } from './options.ts';

/** The names of a catalog where there is one, otherwise of the archive (spec catalog 5.2). */
async function namesOf(snapshot: OpenSnapshot, { archive }: OpenTree, fileName: string, abort: CommandAbort): Promise<NameTree> {
  const file = manifestFile(snapshot.manifest, catalogFileName);
  if (file === undefined) return ArchiveNames.open(archive);
  const { chunks } = await openChunks(snapshot, 'dynamic', file, { ahead: 2, aheadInSequence: true });
  return CatalogNames.open(new CatalogReader(abort.wrap(chunks.readAt), chunks.length), fileName);
}

export const catalogShell: ClientCommand = {
  words: ['catalog', 'shell'],
  description: 'Shell to interactively inspect and restore snapshots.',
  parameters: parameters(
    { snapshot: Type.String({ description: 'Group/Snapshot path.' }), 'archive-name': Type.String({ description: 'Backup archive name.' }) },
    { ...targetOptions, ...keyOptions },
  ),
  positional: ['snapshot', 'archive-name'],
  run: async (context, given) => {
    await requiredRepository(context, given);
    const fileName = archiveFileName(given['archive-name'] as string);
    if (!/\.(?:pxar|mpxar|ppxar)\.didx$/.test(fileName)) throw new ConfigError('config.archive-name', 'Can only mount pxar archives.');
    parseSnapshotOrGroupPath(given['snapshot'] as string);
    await abortable(context.interrupts, async (signal) => {
      using snapshot = await openSnapshot(context, given, signal);
      const files = treeFiles(snapshot.manifest, fileName);
      const abort = new CommandAbort();
      const tree = await openTree(snapshot, files, abort.wrap);
      const names = await namesOf(snapshot, tree, files.archive.filename, abort);
      const { stderr, stdoutBytes: output, lineInput: input } = context;
      stderr.write('Starting interactive shell\n');
      await runShell(new ShellTree(names, tree.archive), { input, output, stderr, timeZone: context.output.timeZone, signal, abort });
      signal.throwIfAborted();
    });
  },
};
