import { closeSync, constants, mkdirSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { throwIfAborted } from '../base/async.ts';
import { errorCode, FormatError, HttpError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { ArchiveDecoder, type ArchiveEvent } from '../pxar/archive-decoder.ts';
import type { ArchiveEntry } from '../pxar/archive-entry.ts';
import type { EntryMetadata } from '../pxar/entry-metadata.ts';
import { evaluatePatterns, type MatchPattern } from '../pxar/match-pattern.ts';
import type { PayloadSource } from '../pxar/payload-source.ts';
import { entryPath } from '../sys/descriptor-path.ts';
import { applyInitialFlags, applyMetadata, type ApplyContext, type RestoredAttributes } from './apply-metadata.ts';
import { joinPath, shownPath } from './shown-path.ts';
import { initialMode, makeDirectory, makeFile, makeHardLink, makeSpecial, makeSymlink, openMade, type Overwrite } from './target-directory.ts';
import { TargetFile } from './target-file.ts';

/** What is restored. */
export interface RestoredFeatures extends RestoredAttributes {
  devices: boolean;
  fifos: boolean;
  sockets: boolean;
}

/** What failed, as in the message. */
export type ExtractStep = 'enter directory' | 'leave directory' | 'extract symlink' | 'extract hardlink' | 'extract device' | 'extract named pipe' | 'extract unix socket' | 'extract file' | 'write prelude';

/** What to extract, and where to (spec pxar 8). */
export interface ExtractRequest {
  /** The unified archive, or the metadata archive of a split one. */
  archive: AsyncIterable<Uint8Array>;
  /** Contents of a split archive's files. */
  payload?: PayloadSource;
  /** Directory; made with its parents when it is not there. */
  target: string;
  /** Which entries; all when there are none. */
  patterns?: readonly MatchPattern[];
  allowExistingDirectories?: boolean;
  overwrite?: Partial<Overwrite>;
  /** Default: all. */
  features?: Partial<RestoredFeatures>;
  /** File for the prelude of a split archive. */
  preludeTarget?: string | null;
  /** Give the target the metadata of the archive's root. Default true. */
  rootMetadata?: boolean;
  /** Trouble with one entry at `path` in the archive (empty for the root): returns to go on, or throws. Default: throws the error. */
  onError?: (error: StoreError, step: ExtractStep, path: Buffer) => void;
  /** The content of the file at `path` cannot be read: true to go on without the file, which is removed. Default: the error ends it. */
  onLostContent?: (path: Buffer, cause: unknown) => boolean;
  log: ProgressLog;
  signal?: AbortSignal;
}

/** A directory of the archive that the stream is in. */
interface OpenTarget {
  name: Buffer;
  path: Buffer;
  metadata: EntryMetadata;
  /** Null: nothing in it was extracted yet. */
  fd: number | null;
  /** It could not be made: nothing in it is extracted. */
  hasFailed: boolean;
  /** Whether entries in it are selected unless a pattern says otherwise. */
  isSelected: boolean;
}

const allFeatures: RestoredFeatures = { ownership: true, permissions: true, xattrs: true, acls: true, fileCapabilities: true, quotaProjectId: true, flags: true, devices: true, fifos: true, sockets: true };

/**
 * Extracts an archive of either version, read front to back. Links that exist in the target are not followed. Throws FormatError for damaged archives, StoreError `store.target`
 * (`error at entry "<name>"`, the causes within) unless `onError` swallows it, AbortedError, and what the sources throw.
 */
export async function extractArchive(request: ExtractRequest): Promise<void> {
  const decoder = new ArchiveDecoder();
  using extractor = new TreeExtractor(request);
  for await (const bytes of withContext(request.archive, extractor)) {
    for (const event of decoder.push(bytes)) await extractor.take(event);
    throwIfAborted(request.signal);
  }
  decoder.finish();
}

/** The same pieces; errors of the source name the file that it was read for. */
async function* withContext<T>(pieces: AsyncIterable<T>, extractor: TreeExtractor): AsyncGenerator<T, void, undefined> {
  try {
    yield* pieces;
  } catch (e) {
    throw extractor.contentError(e);
  }
}

/** As `extractArchive`, from what a decoder would have made of the stream; contents come with the events, or from `payload`. */
export async function extractEvents(events: AsyncIterable<ArchiveEvent>, request: Omit<ExtractRequest, 'archive'>): Promise<void> {
  using extractor = new TreeExtractor(request);
  for await (const event of events) {
    await extractor.take(event);
    throwIfAborted(request.signal);
  }
}

class TreeExtractor implements Disposable {
  readonly #request: Omit<ExtractRequest, 'archive'>;
  readonly #features: RestoredFeatures;
  readonly #overwrite: Overwrite;
  readonly #open: OpenTarget[] = [];
  #hasPrelude = false;
  /** The file whose content comes with the next events. */
  #file: { file: TargetFile; entry: Extract<ArchiveEntry, { type: 'file' }> } | null = null;

  constructor(request: Omit<ExtractRequest, 'archive'>) {
    this.#request = request;
    this.#features = { ...allFeatures, ...request.features };
    this.#overwrite = { files: false, symlinks: false, hardLinks: false, ...request.overwrite };
  }

  [Symbol.dispose](): void {
    this.#file?.file[Symbol.dispose]();
    for (const { fd } of this.#open) if (fd !== null) closeSync(fd);
  }

  async take(event: ArchiveEvent): Promise<void> {
    switch (event.kind) {
      case 'prelude':
        this.#prelude(event.content);
        return;
      case 'entry':
        if (event.entry.type === 'directory') this.#enter(event.entry.name, event.entry.metadata);
        else await this.#entry(event.entry);
        return;
      case 'data':
        await this.#data(event.bytes);
        return;
      case 'file-end':
        this.#endFile();
        return;
      case 'directory-end':
        this.#leave();
    }
  }

  #fail(path: Buffer, step: ExtractStep, cause: unknown): void {
    if (cause instanceof FormatError) throw cause;
    const inner = new StoreError('store.target', `failed to ${step}`, { cause });
    const error = new StoreError('store.target', `error at entry ${shownPath(path.subarray(path.lastIndexOf(0x2f) + 1))}`, { cause: inner });
    if (this.#request.onError === undefined) throw error;
    this.#request.onError(error, step, path);
  }

  #context(path: Buffer, step: ExtractStep): ApplyContext {
    return { attributes: this.#features, onError: (error) => this.#fail(path, step, error), log: this.#request.log, shown: shownPath(path) };
  }

  #prelude(content: Buffer): void {
    this.#hasPrelude = true;
    const { preludeTarget } = this.#request;
    if (preludeTarget === undefined || preludeTarget === null) return;
    try {
      writeFileSync(preludeTarget, content, { flag: this.#overwrite.files ? 'w' : 'wx' });
    } catch (e) {
      this.#fail(Buffer.from(preludeTarget), 'write prelude', e);
    }
  }

  #root(metadata: EntryMetadata): void {
    const { target, preludeTarget, patterns = [], log } = this.#request;
    if (preludeTarget && !this.#hasPrelude) log.info('the archive has no prelude');
    const path = resolve(target);
    try {
      mkdirSync(dirname(path), { recursive: true });
      try {
        mkdirSync(path, 0o700);
      } catch (e) {
        if (errorCode(e) !== 'EEXIST') throw e;
      }
      const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
      this.#open.push({ name: Buffer.alloc(0), path: Buffer.alloc(0), metadata, fd, hasFailed: false, isSelected: patterns.length === 0 });
    } catch (e) {
      throw new StoreError('store.target', `unable to open target directory ${shownPath(Buffer.from(path))}`, { cause: e });
    }
  }

  /** Null: no pattern says anything. */
  #patternResult(path: Buffer, mode: number | null): 'include' | 'exclude' | null {
    const { patterns = [] } = this.#request;
    return patterns.length === 0 ? null : evaluatePatterns(patterns, Buffer.concat([Buffer.of(0x2f), path]), () => mode);
  }

  /** Spec pxar 8.3: a directory is made at once when the one above is selected, otherwise with the first entry in it. */
  #enter(name: Buffer, metadata: EntryMetadata): void {
    const parent = this.#open.at(-1);
    if (parent === undefined) {
      this.#root(metadata);
      return;
    }
    if (name.includes(0)) throw new FormatError('format.pxar', 'archive: name contains a NUL byte');
    const path = joinPath(parent.path, name);
    const result = this.#patternResult(path, metadata.mode);
    const isSelected = result === null ? parent.isSelected : result === 'include';
    this.#open.push({ name, path, metadata, fd: null, hasFailed: parent.hasFailed, isSelected });
    if (parent.isSelected && result !== 'exclude') this.#directoryFd();
  }

  /** Descriptor of the directory that the stream is in, made with those above it where they are not yet; null when that failed. */
  #directoryFd(): number | null {
    let parent = this.#open[0]!.fd;
    for (const directory of this.#open) {
      if (directory.hasFailed) return null;
      if (directory.fd === null) this.#makeDirectory(parent!, directory);
      if (directory.hasFailed) {
        for (const below of this.#open.slice(this.#open.indexOf(directory))) below.hasFailed = true;
        return null;
      }
      parent = directory.fd;
    }
    return parent;
  }

  #makeDirectory(parent: number, directory: OpenTarget): void {
    const mode = initialMode(directory.metadata.mode, this.#features.permissions) & 0o7777;
    try {
      directory.fd = makeDirectory(parent, directory.name, mode, { allowExisting: this.#request.allowExistingDirectories ?? false });
    } catch (e) {
      directory.hasFailed = true;
      this.#fail(directory.path, 'enter directory', e);
    }
  }

  #leave(): void {
    const { path, metadata, fd } = this.#open.pop()!;
    if (fd === null) return;
    try {
      const isRoot = this.#open.length === 0;
      if (!isRoot || (this.#request.rootMetadata ?? true)) applyMetadata(fd, metadata, this.#context(path, 'leave directory'));
    } finally {
      closeSync(fd);
    }
  }

  async #entry(entry: Exclude<ArchiveEntry, { type: 'directory' }>): Promise<void> {
    const parent = this.#open.at(-1)!;
    if (entry.name.includes(0)) throw new FormatError('format.pxar', 'archive: name contains a NUL byte');
    const path = joinPath(parent.path, entry.name);
    const result = this.#patternResult(path, entry.type === 'hardlink' ? null : entry.metadata.mode);
    if (result === null ? !parent.isSelected : result === 'exclude') return;
    const fd = this.#directoryFd();
    if (fd === null) return;
    if (entry.type === 'file') await this.#startFile(fd, entry);
    else this.#makeEntry(fd, entry, path);
  }

  #makeEntry(directory: number, entry: Exclude<ArchiveEntry, { type: 'directory' | 'file' }>, path: Buffer): void {
    const step = stepOf(entry);
    let fd: number | null;
    try {
      fd = this.#make(directory, entry);
    } catch (e) {
      this.#fail(path, step, e);
      return;
    }
    if (fd === null || entry.type === 'hardlink') return;
    try {
      applyMetadata(fd, entry.metadata, this.#context(path, step));
    } finally {
      closeSync(fd);
    }
  }

  /** A descriptor of the new entry; null when it needs nothing more. */
  #make(directory: number, entry: Exclude<ArchiveEntry, { type: 'directory' | 'file' }>): number | null {
    const { name } = entry;
    if (entry.type === 'hardlink') {
      makeHardLink(this.#open[0]!.fd!, entry.targetPath, directory, name, { overwrite: this.#overwrite.hardLinks });
      return null;
    }
    if (!this.#isWanted(entry.type)) return null;
    const { metadata } = entry;
    if (entry.type === 'symlink') makeSymlink(directory, name, entry.target, { overwrite: this.#overwrite.symlinks });
    else makeSpecial(directory, name, initialMode(metadata.mode, this.#features.permissions), entry.type === 'device' ? entry : null);
    return openMade(directory, name, metadata);
  }

  #isWanted(type: 'symlink' | 'device' | 'fifo' | 'socket'): boolean {
    if (type === 'device') return this.#features.devices;
    if (type === 'fifo') return this.#features.fifos;
    return type === 'symlink' || this.#features.sockets;
  }

  async #startFile(directory: number, entry: Extract<ArchiveEntry, { type: 'file' }>): Promise<void> {
    const path = joinPath(this.#open.at(-1)!.path, entry.name);
    let file: TargetFile;
    try {
      file = new TargetFile(makeFile(directory, entry.name, { overwrite: this.#overwrite.files }), entry.size);
    } catch (e) {
      this.#fail(path, 'extract file', e);
      return;
    }
    this.#file = { file, entry };
    applyInitialFlags(file.fd, entry.metadata, this.#context(path, 'extract file'));
    if (entry.payload === null) return;
    const { payload } = this.#request;
    if (payload === undefined) throw new FormatError('format.pxar', 'the contents are in a payload archive that is not at hand');
    try {
      for await (const bytes of withContext(payload.content(entry.payload, entry.size), this)) {
        await this.#data(bytes);
        throwIfAborted(this.#request.signal);
        if (this.#file === null) return;
      }
    } catch (e) {
      // A file that cannot be written is no loss of the archive: that is told by `onError`.
      if (this.#file === null || this.#request.onLostContent?.(path, e) !== true) throw e;
      this.#removeFile(directory, path, entry.name);
      return;
    }
    this.#endFile();
  }

  /** Rather no file than one that is not what was archived. */
  #removeFile(directory: number, path: Buffer, name: Buffer): void {
    this.#file?.file[Symbol.dispose]();
    this.#file = null;
    try {
      unlinkSync(entryPath(directory, name));
    } catch (e) {
      this.#fail(path, 'extract file', e);
    }
  }

  /** What a source of contents threw, with the path of the file that it was read for. */
  contentError(e: unknown): unknown {
    if (this.#file === null) return e;
    const message = `error at entry ${shownPath(joinPath(this.#open.at(-1)!.path, this.#file.entry.name))}`;
    if (e instanceof FormatError) return new FormatError(e.code, message, { cause: e, ...(e.hint === undefined ? {} : { hint: e.hint }) });
    return e instanceof HttpError ? new StoreError('store.target', message, { cause: e }) : e;
  }

  async #data(bytes: Buffer): Promise<void> {
    if (this.#file === null) return;
    const { file, entry } = this.#file;
    try {
      await file.write(bytes);
    } catch (e) {
      file[Symbol.dispose]();
      this.#file = null;
      this.#fail(joinPath(this.#open.at(-1)!.path, entry.name), 'extract file', e);
    }
  }

  #endFile(): void {
    if (this.#file === null) return;
    const { file, entry } = this.#file;
    this.#file = null;
    const path = joinPath(this.#open.at(-1)!.path, entry.name);
    using _open = file;
    try {
      file.finish();
    } catch (e) {
      this.#fail(path, 'extract file', e);
      return;
    }
    applyMetadata(file.fd, entry.metadata, this.#context(path, 'extract file'));
  }
}

function stepOf(entry: Exclude<ArchiveEntry, { type: 'directory' | 'file' }>): ExtractStep {
  const steps = { symlink: 'extract symlink', hardlink: 'extract hardlink', device: 'extract device', fifo: 'extract named pipe', socket: 'extract unix socket' } as const;
  return steps[entry.type];
}
