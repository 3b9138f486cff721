import { extractArchive, extractEvents, type ExtractRequest } from '../archive/extract-archive.ts';
import { salvageEvents, SalvagedPayload } from '../archive/salvage.ts';
import { shownPath } from '../archive/shown-path.ts';
import { AbortedError, errorChain, NetworkError, StoreError, HttpError, FormatError } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { ManifestFile } from '../format/manifest.ts';
import { ArchiveAccessor } from '../pxar/archive-accessor.ts';
import type { MatchPattern } from '../pxar/match-pattern.ts';
import { RandomPayload } from '../pxar/payload-source.ts';
import { ChunkReader } from './chunk-reader.ts';
import { ChunkSource } from './chunk-source.ts';
import { isLostChunk, salvages, type LostChunks } from './lost-chunks.ts';
import { RestoreProgress, type RestoreProgressParts } from './restore-progress.ts';
import { downloadIndex } from './snapshot-contents.ts';
import type { SnapshotReader } from './steady-reader.ts';

/** Chunks of contents that are fetched ahead when everything is restored. */
const chunksAhead = 6;
/** Contents come front to back: hardly a chunk is wanted again, but files of one chunk may be told in another order than they lie. */
const chunksKept = 2;
const pieceLength = 1024 * 1024;

/** How a directory tree is restored (spec client-cli 5). */
export interface TreeRestore {
  patterns: readonly MatchPattern[];
  allowExistingDirectories: boolean;
  overwrite: { files: boolean; symlinks: boolean; hardLinks: boolean };
  ignore: { acls: boolean; xattrs: boolean; ownership: boolean; permissions: boolean; deviceErrors: boolean };
  preludeTarget: string | null;
  lostChunks: LostChunks;
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

/** The bytes of an archive from start to end. No piece reaches over the end of a chunk: one that is lost is met where it is needed. */
async function* streamOf(chunks: ChunkReader): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < chunks.length; ) {
    const end = Math.min(at + pieceLength, chunks.chunkEnd(at));
    yield await chunks.readAt(at, end - at);
    at = end;
  }
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
  const archive = new ChunkReader(chunkSource(files.archive, parts), index, { ahead: chunksAhead, kept: chunksKept, onChunk });
  // With patterns most of the contents is passed over: nothing is fetched on suspicion.
  const ahead = tree.patterns.length > 0 ? 0 : chunksAhead;
  const payload = payloadIndex === null ? null : new ChunkReader(chunkSource(files.payload!, parts), payloadIndex, { ahead, kept: chunksKept, onChunk });
  const common = { ...request(target, tree), log: { debug: () => {}, info: say, warn: say, error: say }, signal };
  try {
    if (salvages(tree.lostChunks)) await salvageTree(archive, payload, common, tree, say);
    else await extractArchive({ ...common, archive: streamOf(archive), ...(payload === null ? {} : { payload: new RandomPayload(payload.readAt, payload.length) }) });
  } catch (e) {
    throw extractionError(e);
  } finally {
    progress.clear();
  }
  progress.complete();
}

/** Extracts what can be read, and says what is lost: files, entries without a name, whole directories. */
async function salvageTree(archive: ChunkReader, payload: ChunkReader | null, common: Omit<ExtractRequest, 'archive'>, tree: TreeRestore, say: (message: string) => void): Promise<void> {
  let lost = 0;
  const sayLost = (what: string, cause: unknown): void => {
    lost += 1;
    say(`WARNING: ${what} lost: ${errorChain(cause)}`);
  };
  const isLoss = (e: unknown): boolean => isLostChunk(e, tree.lostChunks);
  const accessor = new ArchiveAccessor(archive.readAt, archive.length);
  const events = salvageEvents(accessor, {
    isLoss,
    onLost: (path, what, cause) => sayLost({ metadata: `metadata of ${shownPath(path)} are`, entry: `an entry in ${shownPath(path)}, with what may be in it, is`, contents: `all entries in ${shownPath(path)} are` }[what], cause),
  });
  await extractEvents(events, {
    ...common,
    payload: payload === null ? new SalvagedPayload('unified', archive.readAt, archive.length) : new SalvagedPayload('payload', payload.readAt, payload.length),
    onLostContent: (path, e) => {
      if (!isLoss(e)) return false;
      // The file's own name is in the cause's first line, too.
      sayLost(`${shownPath(path)} is`, e instanceof Error && e.cause !== undefined ? e.cause : e);
      return true;
    },
    onError: (error, step, path) => {
      if (lost > 0 && step === 'extract hardlink') sayLost(`${shownPath(path)} is`, error);
      else common.onError!(error, step, path);
    },
  });
  if (lost > 0) say(`WARNING: ${lost} ${lost === 1 ? 'loss' : 'losses'}, the rest was restored`);
}
