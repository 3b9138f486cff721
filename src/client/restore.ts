import { resolve } from 'node:path';
import { ConfigError, errorChain } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import { replaceFile } from '../datastore/replace-file.ts';
import { archiveKind, encryptedKeyFileName, manifestFileName, serverArchiveName } from '../format/backup-path.ts';
import type { ManifestFile } from '../format/manifest.ts';
import { splitFiles } from '../format/split-archive.ts';
import { ChunkSource } from './chunk-source.ts';
import { isLostChunk } from './lost-chunks.ts';
import { RestoreProgress, type RestoreProgressParts } from './restore-progress.ts';
import { restoreTree, type TreeRestore } from './restore-tree.ts';
import { PipeTarget, RestoreTarget, type ByteOutput, type ByteTarget } from './restore-target.ts';
import { downloadBlob, downloadIndex, listedFile, type SnapshotManifest } from './snapshot-contents.ts';
import type { SnapshotReader } from './steady-reader.ts';

/** Name that stands for standard output. */
export const standardOutput = '-';

/** Server name of an archive as people or servers call it. ConfigError `config.archive-name` with the reference's text. */
export function archiveFileName(name: string): string {
  try {
    return serverArchiveName(name);
  } catch {
    throw new ConfigError('config.archive-name', `failed to parse archive type for '${name}'`, { hint: 'an archive is called e.g. root.pxar, drive-scsi0.img, qemu-server.conf; `snapshot files` shows them' });
  }
}

export interface RestoreRequest {
  /** Server name. */
  fileName: string;
  /** Path, or `-`. */
  target: string;
  /** For directory trees. */
  tree: TreeRestore;
}

export interface RestoreParts {
  reader: SnapshotReader;
  manifest: SnapshotManifest;
  crypt: CryptConfig | null;
  stdout: ByteOutput;
  progress: RestoreProgressParts;
  signal: AbortSignal;
}

/**
 * Writes one archive of a snapshot to a file or to standard output (spec client-cli 5, step 3). The target is made whole or not at
 * all; only the manifest replaces what is there. Throws what the session throws, FormatError for anything damaged, StoreError for the target.
 */
export async function restoreArchive(request: RestoreRequest, parts: RestoreParts): Promise<void> {
  const { fileName, target } = request;
  const { manifest } = parts.manifest;
  if (fileName === manifestFileName) {
    await restoreManifest(target, parts);
    return;
  }
  const split = splitFiles(manifest, fileName);
  if (split !== null) {
    refusePatterns(request);
    if (target === standardOutput) throw new ConfigError('config.split-archive', 'unable to pipe split archive');
    await restoreTree(split, target, request.tree, parts);
    return;
  }
  const file = listedFile(manifest, fileName);
  switch (archiveKind(fileName)) {
    case 'blob':
      await intoTarget(target, parts.stdout, async (output) => output.write(await downloadBlob(parts.reader, file, parts.crypt)));
      return;
    case 'fixed':
      await restoreImage(file, request, parts);
      return;
    case 'dynamic':
      await restoreStream(file, request, parts);
  }
}

function refusePatterns({ target, tree }: RestoreRequest): void {
  if (target === standardOutput && tree.patterns.length > 0) throw new ConfigError('config.pattern', 'patterns not allowed when restoring to stdout');
}

async function restoreManifest(target: string, { manifest, stdout }: RestoreParts): Promise<void> {
  if (target === standardOutput) await new PipeTarget(stdout).write(manifest.json);
  else await replaceFile(resolve(target), manifest.json, { owner: null });
}

/** Runs `work` on the target, which becomes visible when it has succeeded. */
async function intoTarget(target: string, stdout: ByteOutput, work: (output: ByteTarget) => Promise<void>): Promise<void> {
  if (target === standardOutput) {
    await work(new PipeTarget(stdout));
    return;
  }
  await using file = await RestoreTarget.create(target);
  await work(file);
  await file.commit();
}

function chunkSource(file: ManifestFile, { reader, crypt }: RestoreParts): ChunkSource {
  return new ChunkSource({ reader, crypt: crypt ?? undefined, cryptMode: file.cryptMode });
}

/** Says where an archive that is restored as bytes holds zeros instead of a lost chunk. */
function onLost({ filename }: ManifestFile, { tree }: RestoreRequest, { progress }: RestoreParts): (entry: { start: number; end: number }, e: unknown) => boolean {
  return ({ start, end }, e) => {
    if (!isLostChunk(e, tree.lostChunks)) return false;
    progress.stderr.write(`WARNING: bytes ${start} to ${end - 1} of ${filename} are lost, zeros take their place: ${errorChain(e)}\n`);
    return true;
  };
}

async function restoreImage(file: ManifestFile, request: RestoreRequest, parts: RestoreParts): Promise<void> {
  await intoTarget(request.target, parts.stdout, async (output) => {
    const index = await downloadIndex(parts.reader, 'fixed', file);
    const progress = new RestoreProgress(index.size, parts.progress);
    try {
      for await (const { bytes, length } of chunkSource(file, parts).pieces(index, onLost(file, request, parts))) {
        await (bytes === null ? output.writeZeros(length) : output.write(bytes));
        progress.advance(length);
      }
    } finally {
      progress.clear();
    }
    progress.complete();
  });
}

async function restoreStream(file: ManifestFile, request: RestoreRequest, parts: RestoreParts): Promise<void> {
  refusePatterns(request);
  if (request.target === standardOutput) await pipeStream(file, request, parts);
  else if (file.filename.endsWith('.pxar.didx')) await restoreTree({ archive: file, payload: null }, request.target, request.tree, parts);
  else throw new ConfigError('config.archive-name', `'${file.filename}' is no directory tree`, { hint: "its bytes as they are: give '-' as target" });
}

/** The bytes of a stream archive as they are: an archive for `pxar`, or a catalog. */
async function pipeStream(file: ManifestFile, request: RestoreRequest, parts: RestoreParts): Promise<void> {
  const index = await downloadIndex(parts.reader, 'dynamic', file);
  const output = new PipeTarget(parts.stdout);
  for await (const { bytes, length } of chunkSource(file, parts).pieces(index, onLost(file, request, parts))) await (bytes === null ? output.writeZeros(length) : output.write(bytes));
}

/** True for the one file that is restored without the key: it holds the key. */
export function holdsKey(fileName: string): boolean {
  return fileName === encryptedKeyFileName;
}
