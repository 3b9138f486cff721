import { extractArchive, type ExtractRequest } from '../archive/extract-archive.ts';
import { AbortedError, NetworkError, StoreError, HttpError, FormatError } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { ManifestFile } from '../format/manifest.ts';
import type { MatchPattern } from '../pxar/match-pattern.ts';
import { RandomPayload } from '../pxar/payload-source.ts';
import { ChunkReader } from './chunk-reader.ts';
import { ChunkSource } from './chunk-source.ts';
import { RestoreProgress, type RestoreProgressParts } from './restore-progress.ts';
import { downloadIndex } from './snapshot-contents.ts';
import type { SnapshotReader } from './steady-reader.ts';

/** Chunks of contents that are fetched ahead when everything is restored. */
const chunksAhead = 12;
const pieceLength = 1024 * 1024;

/** How a directory tree is restored (spec client-cli 5). */
export interface TreeRestore {
  patterns: readonly MatchPattern[];
  allowExistingDirectories: boolean;
  overwrite: { files: boolean; symlinks: boolean; hardLinks: boolean };
  ignore: { acls: boolean; xattrs: boolean; ownership: boolean; permissions: boolean; deviceErrors: boolean };
  preludeTarget: string | null;
}

/** One archive, or the two of a split one. */
export interface TreeFiles {
  archive: ManifestFile;
  payload: ManifestFile | null;
}

export interface TreeRestoreParts {
  reader: SnapshotReader;
  crypt: CryptConfig | null;
  progress: RestoreProgressParts;
  signal: AbortSignal;
}

function chunkSource(file: ManifestFile, { reader, crypt }: TreeRestoreParts): ChunkSource {
  return new ChunkSource({ reader, crypt: crypt ?? undefined, cryptMode: file.cryptMode });
}

/** The bytes of an archive from start to end. */
async function* streamOf(chunks: ChunkReader): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < chunks.length; at += pieceLength) yield await chunks.readAt(at, pieceLength);
}

function request(target: string, tree: TreeRestore): Omit<ExtractRequest, 'archive' | 'log' | 'signal'> {
  const { ignore, overwrite } = tree;
  return {
    target,
    patterns: tree.patterns,
    allowExistingDirectories: tree.allowExistingDirectories,
    overwrite,
    features: { acls: !ignore.acls, xattrs: !ignore.xattrs, ownership: !ignore.ownership, permissions: !ignore.permissions },
    preludeTarget: tree.preludeTarget,
    onError: (error, step) => {
      if (!(ignore.deviceErrors && step === 'extract device')) throw error;
    },
  };
}

/** Says of what ended an extraction that it was one; what is about the server or an interrupt speaks for itself. */
function extractionError(e: unknown): unknown {
  if (e instanceof AbortedError || e instanceof NetworkError || e instanceof HttpError) return e;
  if (e instanceof StoreError || e instanceof FormatError) return new StoreError('store.target', 'error extracting archive', { cause: e });
  return e;
}

/**
 * Extracts a directory tree into `target` (spec pxar 8). Of contents only the chunks that are needed are fetched, several at a time. Throws StoreError
 * `store.target` with the causes, and what the session throws.
 */
export async function restoreTree(files: TreeFiles, target: string, tree: TreeRestore, parts: TreeRestoreParts): Promise<void> {
  const { reader, progress: progressParts, signal } = parts;
  const { stderr } = progressParts;
  const index = await downloadIndex(reader, 'dynamic', files.archive);
  const payloadIndex = files.payload === null ? null : await downloadIndex(reader, 'dynamic', files.payload);
  const progress = new RestoreProgress(index.size + (payloadIndex?.size ?? 0), progressParts);
  const onChunk = (bytes: number): void => progress.advance(bytes);
  const say = (message: string): void => {
    progress.clear();
    stderr.write(`${message}\n`);
  };
  const archive = new ChunkReader(chunkSource(files.archive, parts), index, { ahead: chunksAhead, onChunk });
  // With patterns most of the contents is passed over: nothing is fetched on suspicion.
  const ahead = tree.patterns.length > 0 ? 0 : chunksAhead;
  const payload = payloadIndex === null ? null : new ChunkReader(chunkSource(files.payload!, parts), payloadIndex, { ahead, onChunk });
  try {
    await extractArchive({
      ...request(target, tree),
      archive: streamOf(archive),
      ...(payload === null ? {} : { payload: new RandomPayload(payload.readAt, payload.length) }),
      log: { debug: () => {}, info: say, warn: say, error: say },
      signal,
    });
  } catch (e) {
    throw extractionError(e);
  } finally {
    progress.clear();
  }
  progress.complete();
}
