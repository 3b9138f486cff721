import assert from 'node:assert/strict';
import { closeSync, constants, openSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { throwIfAborted } from '../base/async.ts';
import { FarshoreError, FormatError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { closeEntry, statDescriptor, statEntry } from '../sys/entry-calls.ts';
import { WalkAhead } from '../sys/walk-ahead.ts';
import type { CatalogEncoder } from '../format/catalog.ts';
import { formatHumanByte } from '../format/human-byte.ts';
import type { ArchiveDirectory } from '../pxar/archive-accessor.ts';
import { plainMetadata } from '../pxar/entry-metadata.ts';
import { commandLineExcludeFileName, excludeFileName } from '../pxar/exclude-file.ts';
import { MatchPattern } from '../pxar/match-pattern.ts';
import type { ArchiveSinks } from './archive-sinks.ts';
import { DirectPlacement, type EntryPlacement } from './entry-placement.ts';
import { entryFlags } from './entry-flags.ts';
import { EntryWriter, type ArchiveCounts } from './entry-writer.ts';
import { filesystemOf, type AttributeFeatures, type FilesystemKind } from './filesystem-kind.ts';
import { LookAhead, type PaddingCounts } from './look-ahead.ts';
import type { PreviousArchive } from './previous-archive.ts';
import { shownPath } from './shown-path.ts';
import { listDirectory, listWalked, readExcludeFile, type ListedEntry } from './source-directory.ts';
import { readAttributes, statMetadata } from './source-metadata.ts';
import { closeNode, longestReopenPath, openNode, reasonToPassOver, reopenNode, sourceError, SourceNode } from './source-node.ts';

/** What to archive, and how (spec pxar 5, client-cli 4.1). */
export interface ArchiveRequest {
  /** The directory; a link to it is followed. */
  source: string | Uint8Array;
  sinks: ArchiveSinks;
  /** For unified archives, with the archive's own directory open; it is closed by the caller. */
  catalog?: CatalogEncoder | null;
  /** Of the command line; also kept in the archive. */
  patterns?: readonly MatchPattern[];
  /** File systems to descend into besides the source's, by `st_dev`, or all. Virtual ones are always left out. */
  devices?: readonly bigint[] | 'all';
  skipLostAndFound?: boolean;
  /** Leave out extended attributes that are too large to be read; otherwise they are an error. */
  skipTooLargeXattrs?: boolean;
  /** Entries in the directories that are open at a time. Default 1048576. */
  entriesMax?: number;
  /** What to read of entries; default: all that their file system has. */
  features?: Partial<AttributeFeatures>;
  /** For split archives: unchanged files are not read again (change detection mode `metadata`). */
  previous?: PreviousArchive | null;
  /** Entries that may wait for a decision about reuse: with few, small files never fill the chunks that hold them. Default 16384, some 20 MB. */
  lookAheadLimit?: number;
  /** With `previous`: look at entries in a thread of its own before they are wanted, where that is possible. Default true; the archive is the same. */
  walkAhead?: boolean;
  log: ProgressLog;
  signal?: AbortSignal;
}

export interface ArchiveSummary extends ArchiveCounts {
  /** Of reused chunks; nothing without `previous`. */
  padding: PaddingCounts;
}

export const defaultEntriesMax = 1_048_576;
const defaultLookAhead = 16_384;
/** Everything here but large files runs without waiting: let others have their turn now and then. */
const entriesPerTurn = 256;

/**
 * Archives a directory tree: version 1 into one stream, version 2 into two. Entries that vanish or may not be read are warned of and left out; any other trouble ends it.
 * Throws StoreError `store.source` (`error at "<path>"`, the cause within), FormatError for what archives cannot hold, AbortedError, and what the sinks throw.
 */
export async function createArchive(request: ArchiveRequest): Promise<ArchiveSummary> {
  assert.ok(request.previous === undefined || request.previous === null || request.sinks.payload !== undefined, 'only split archives reuse');
  const fd = openSource(request.source);
  try {
    return await new TreeArchiver(request).run(fd);
  } finally {
    closeSync(fd);
  }
}

function openSource(source: string | Uint8Array): number {
  const path = Buffer.from(source as string);
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOCTTY);
  } catch (e) {
    throw new StoreError('store.source', `unable to open ${shownPath(path)}`, { cause: e });
  }
}

/** Where the walk is. */
interface Place {
  fd: number;
  path: Buffer;
  device: bigint;
  filesystem: FilesystemKind;
  previous: ArchiveDirectory | null;
  /** What the walk ahead knows the directory by; null: it does not. */
  walked: number | null;
}

class TreeArchiver {
  readonly #request: ArchiveRequest;
  readonly #log: ProgressLog;
  readonly #wanted: AttributeFeatures;
  readonly #entriesMax: number;
  /** Of the command line, then of the directories that are open. */
  readonly #patterns: MatchPattern[];
  readonly #commandLine: Buffer;
  #devices: ReadonlySet<bigint> | null = null;
  /** Entries of the directories that are open. */
  #held = 0;
  #visited = 0;
  #walkAhead: WalkAhead | null = null;

  constructor(request: ArchiveRequest) {
    this.#request = request;
    this.#log = request.log;
    this.#wanted = { xattrs: true, acls: true, fileCapabilities: true, quotaProjectId: true, ...request.features };
    this.#entriesMax = request.entriesMax ?? defaultEntriesMax;
    this.#patterns = [...(request.patterns ?? [])];
    if (request.skipLostAndFound === true) this.#patterns.push(MatchPattern.parse('lost+found', 'exclude'));
    this.#commandLine = Buffer.concat(this.#patterns.map(({ line }) => line));
  }

  async run(fd: number): Promise<ArchiveSummary> {
    const { previous, sinks, catalog, log, signal } = this.#request;
    const filesystem = filesystemOf(fd, this.#wanted);
    if (filesystem.isVirtual) throw new StoreError('store.source', 'refusing to backup a virtual file system');
    const stat = statDescriptor(fd);
    const { devices = [] } = this.#request;
    this.#devices = devices === 'all' ? null : new Set([stat.dev, ...devices]);
    const root = statMetadata(stat);
    readAttributes(fd, root, filesystem, this.#attributeOptions());
    const writer = new EntryWriter(root, this.#prelude(), { sinks, catalog: catalog ?? null, log, signal });
    const lookAhead = previous ? new LookAhead(writer, previous.payloadIndex, { limit: this.#request.lookAheadLimit ?? defaultLookAhead, reopen: (node) => this.#opened(node, () => reopenNode(fd, node)), fresh: (node) => this.#fresh(fd, node, filesystem), log, signal }) : null;
    const placement = lookAhead ?? new DirectPlacement(writer);
    await using walkAhead = lookAhead === null ? null : this.#startWalkAhead(fd, filesystem);
    this.#walkAhead = walkAhead;
    try {
      await this.#directory({ fd, path: Buffer.alloc(0), device: stat.dev, filesystem, previous: previous ? await previous.accessor.root() : null, walked: walkAhead?.root ?? null }, placement);
      await placement.finish();
    } finally {
      placement.dispose();
    }
    if (sinks.payload === undefined && this.#commandLine.length > 0) await this.#writePatterns(writer);
    await writer.finish();
    const summary = { ...writer.counts, padding: lookAhead?.padding ?? { bytes: 0, chunks: 0 } };
    if (lookAhead !== null) logSummary(summary, log);
    return summary;
  }

  /** Null where it would see too much: what patterns leave out is not touched. FAT has attributes that it does not know. */
  #startWalkAhead(fd: number, { xattrs, quotaProjectId, fatAttributes }: FilesystemKind): WalkAhead | null {
    if (this.#request.walkAhead === false || this.#patterns.length > 0 || fatAttributes) return null;
    return new WalkAhead(fd, { xattrs, quotaProjectId, leftOut: excludeFileName });
  }

  #attributeOptions(): { skipTooLargeXattrs: boolean } {
    return { skipTooLargeXattrs: this.#request.skipTooLargeXattrs ?? false };
  }

  /** Patterns of the command line in a split archive (spec pxar 3). */
  #prelude(): Buffer | null {
    if (this.#request.sinks.payload === undefined || this.#commandLine.length === 0) return null;
    const text = this.#commandLine.toString();
    if (!Buffer.from(text).equals(this.#commandLine)) throw new FormatError('format.pattern', 'exclude patterns of a split archive must be valid UTF-8');
    return Buffer.from(JSON.stringify({ 'exclude-patterns': text }));
  }

  /** The same in a unified archive: a file in the root (spec pxar 7.6). */
  async #writePatterns(writer: EntryWriter): Promise<void> {
    const metadata = plainMetadata({ mode: 0o100600, uid: process.getuid!(), gid: process.getgid!(), mtimeNs: 0n });
    await writer.madeFile(Buffer.from(commandLineExcludeFileName), metadata, this.#commandLine);
  }

  /** Everything in an open directory. */
  async #directory(place: Place, placement: EntryPlacement): Promise<void> {
    const [patterns, held] = [this.#patterns.length, this.#held];
    this.#patterns.push(...readExcludeFile(place.fd, place.path, this.#log));
    const listing = place.walked === null ? null : await this.#walkAhead!.listing(place.walked);
    if (listing === null) await this.#entries(place, listDirectory(place.fd, place.path, this.#patterns, this.#log), placement);
    else for await (const walked of listing) await this.#entries(place, listWalked(place.fd, place.path, walked, this.#log), placement);
    this.#patterns.length = patterns;
    this.#held = held;
  }

  async #entries(place: Place, entries: readonly ListedEntry[], placement: EntryPlacement): Promise<void> {
    this.#held += entries.length;
    if (this.#held > this.#entriesMax) {
      throw new StoreError('store.source', `exceeded allowed number of file entries (> ${this.#entriesMax})`, { hint: 'allow more with --entries-max, as far as memory goes' });
    }
    for (const entry of entries) {
      throwIfAborted(this.#request.signal);
      this.#visited += 1;
      if (this.#visited % entriesPerTurn === 0) await nextTurn();
      const pending = this.#entry(place, entry, placement);
      if (pending !== undefined) await pending;
    }
  }

  #entry(place: Place, { name, stat, flags, directory }: ListedEntry, placement: EntryPlacement): Promise<void> | void {
    const node = new SourceNode(name, place.path, stat);
    // Of a further name of a file nothing is read.
    if (placement.isKnown(node.inode)) return placement.file(node, null);
    if (flags !== undefined && flags !== null && place.path.length + 1 + name.length <= longestReopenPath) {
      node.metadata.flags = entryFlags(flags, 0);
      return placement.file(node, place.previous);
    }
    if (!this.#opened(node, () => openNode(place.fd, node))) return;
    if (node.type === 'directory') return this.#subdirectory(place, node, directory ?? null, placement);
    if (node.type !== 'file') return placement.leaf(node);
    this.#attributes(node, node.fd!, place.filesystem);
    return placement.file(node, place.previous);
  }

  /** A file that was only looked at, as it is now; null: it is passed over. Below the root `fd`, on its file system. */
  #fresh(fd: number, { name, folder, path }: SourceNode, filesystem: FilesystemKind): SourceNode | null {
    const seen: { node: SourceNode | null } = { node: null };
    const isOpen = this.#opened({ path }, () => {
      const node = new SourceNode(name, folder, statEntry(fd, path));
      openNode(fd, node, path);
      seen.node = node;
    });
    const { node } = seen;
    if (!isOpen || node === null) return null;
    if (node.type !== 'file') {
      closeNode(node);
      this.#log.warn(`skipping ${shownPath(path)}: something else took its place`);
      return null;
    }
    this.#attributes(node, node.fd!, filesystem);
    return node;
  }

  async #subdirectory(place: Place, node: SourceNode, walked: number | null, placement: EntryPlacement): Promise<void> {
    const fd = node.fd!;
    // The placement may hold the node for long: it gets it without the descriptor.
    node.fd = null;
    try {
      const isCrossing = node.stat.dev !== place.device;
      const filesystem = isCrossing ? filesystemOf(fd, this.#wanted) : place.filesystem;
      this.#attributes(node, fd, filesystem);
      await placement.openDirectory(node);
      if (isCrossing && (filesystem.isVirtual || this.#devices?.has(node.stat.dev) === false)) {
        this.#log.info(`skipping mount point: ${shownPath(node.path)}`);
      } else {
        await this.#directory({ fd, path: node.path, device: node.stat.dev, filesystem, previous: await previousOf(place, node), walked }, placement);
      }
      await placement.closeDirectory();
    } finally {
      closeEntry(fd);
    }
  }

  /** False: it is passed over. */
  #opened(node: Pick<SourceNode, 'path'>, open: () => void): boolean {
    try {
      open();
      return true;
    } catch (e) {
      const reason = reasonToPassOver(e);
      if (reason === null) throw sourceError(node.path, e);
      this.#log.warn(`skipping ${shownPath(node.path)}: ${reason}`);
      return false;
    }
  }

  #attributes(node: SourceNode, fd: number, filesystem: FilesystemKind): void {
    try {
      readAttributes(fd, node.metadata, filesystem, this.#attributeOptions());
    } catch (e) {
      closeNode(node);
      throw e instanceof FarshoreError && e.code === 'store.source' ? e : sourceError(node.path, e);
    }
  }
}

async function previousOf(place: Place, node: SourceNode): Promise<ArchiveDirectory | null> {
  return (await place.previous?.subdirectory(node.name)) ?? null;
}

/** Spec pxar 5.7. As with the reference `hardlinks` are files with several names, which it counts once more. */
function logSummary(summary: ArchiveSummary, log: ProgressLog): void {
  const { linkedFiles, reusedFiles, reusedBytes, encodedFiles, encodedBytes, padding } = summary;
  log.info('Change detection summary:');
  log.info(` - ${reusedFiles + encodedFiles + linkedFiles} total files (${linkedFiles} hardlinks)`);
  log.info(` - ${reusedFiles} unchanged, reusable files with ${formatHumanByte(reusedBytes)} data`);
  log.info(` - ${encodedFiles} changed or non-reusable files with ${formatHumanByte(encodedBytes)} data`);
  log.info(` - ${formatHumanByte(padding.bytes)} padding in ${padding.chunks} partially reused chunks`);
}
