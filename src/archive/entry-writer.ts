import { throwIfAborted } from '../base/async.ts';
import type { ProgressLog } from '../base/log.ts';
import type { InjectedChunk } from '../chunking/payload-chunker.ts';
import type { CatalogEncoder, CatalogSimpleType } from '../format/catalog.ts';
import { ArchiveEncoder } from '../pxar/archive-encoder.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { itemHeaderLength } from '../pxar/item.ts';
import { SinkQueue, type ArchiveSinks } from './archive-sinks.ts';
import { fileContent, smallContent, smallFile } from './file-content.ts';
import { closeNode, type SourceNode } from './source-node.ts';

/** What went into an archive. Bytes of files count their payload item's header. */
export interface ArchiveCounts {
  /** Files that have more than one name, here or elsewhere. */
  linkedFiles: number;
  encodedFiles: number;
  encodedBytes: number;
  reusedFiles: number;
  reusedBytes: number;
}

export interface EntryWriterParts {
  sinks: ArchiveSinks;
  /** Of unified archives, with the archive's own directory open. */
  catalog: CatalogEncoder | null;
  log: ProgressLog;
  signal?: AbortSignal | undefined;
}

const nsPerSecond = 1_000_000_000n;

/** Whole seconds, rounded down. */
function wholeSeconds(ns: bigint): number {
  return Number((ns - (((ns % nsPerSecond) + nsPerSecond) % nsPerSecond)) / nsPerSecond);
}

function catalogType(node: SourceNode): CatalogSimpleType {
  if (node.type === 'symlink') return 'l';
  if (node.type === 'fifo') return 'p';
  if (node.type === 'socket') return 's';
  return fileTypeOf(node.metadata.mode) === fileTypes.block ? 'b' : 'c';
}

/** Writes nodes to an archive, and to the catalog, in the order that they are given. */
export class EntryWriter {
  readonly counts: ArchiveCounts = { linkedFiles: 0, encodedFiles: 0, encodedBytes: 0, reusedFiles: 0, reusedBytes: 0 };
  readonly #encoder: ArchiveEncoder;
  readonly #parts: EntryWriterParts;
  readonly #queue = new SinkQueue();
  /** Files with several names by inode: where the first one is. */
  readonly #links = new Map<string, { position: number; path: Buffer }>();

  constructor(root: EntryMetadata, prelude: Buffer | null, parts: EntryWriterParts) {
    this.#parts = parts;
    const { archive, payload } = parts.sinks;
    const streams = { archive: (bytes: Buffer): void => this.#queue.add(() => archive.write(bytes)) };
    const split = payload === undefined ? {} : { payload: (bytes: Buffer): void => this.#queue.add(() => payload.write(bytes)) };
    this.#encoder = new ArchiveEncoder({ ...streams, ...split }, root, prelude);
  }

  /** Bytes of the payload archive so far. */
  get payloadPosition(): number {
    return this.#encoder.payloadPosition;
  }

  /** True when the file under another name is in the archive. */
  hasInode(inode: string | null): boolean {
    return inode !== null && this.#links.has(inode);
  }

  openDirectory(node: SourceNode): Promise<void> | void {
    this.#parts.catalog?.startDirectory(node.name);
    this.#encoder.startDirectory(node.name, node.metadata);
    return this.#queue.drain();
  }

  closeDirectory(): Promise<void> | void {
    this.#parts.catalog?.endDirectory();
    this.#encoder.endDirectory();
    return this.#queue.drain();
  }

  /** Symlink, device, fifo or socket. */
  leaf(node: SourceNode): Promise<void> | void {
    this.#parts.catalog?.add(catalogType(node), node.name);
    if (node.target !== null) this.#encoder.symlink(node.name, node.metadata, node.target);
    else if (node.device !== null) this.#encoder.device(node.name, node.metadata, node.device);
    else this.#encoder.special(node.name, node.metadata);
    return this.#queue.drain();
  }

  /** A file's content, or a hard link when the archive has it under another name. Closes the node. */
  file(node: SourceNode): Promise<void> | void {
    if (!this.#hardLink(node)) {
      this.#parts.catalog?.addFile(node.name, node.size, wholeSeconds(node.metadata.mtimeNs));
      this.#suggest();
      this.#remember(node, this.#encoder.startFile(node.name, node.metadata, node.size));
      this.counts.encodedFiles += 1;
      this.counts.encodedBytes += itemHeaderLength + node.size;
      if (node.size > smallFile) return this.#largeContent(node);
      for (const bytes of smallContent(node, this.#parts.log)) this.#encoder.fileData(bytes);
      this.#encoder.endFile();
    }
    closeNode(node);
    return this.#queue.drain();
  }

  /** As `file`, for a file whose payload is at `payloadPosition` among chunks that are injected. */
  reusedFile(node: SourceNode, payloadPosition: number): Promise<void> | void {
    if (!this.#hardLink(node)) {
      this.#suggest();
      this.#remember(node, this.#encoder.reusedFile(node.name, node.metadata, node.size, payloadPosition));
      this.counts.reusedFiles += 1;
      this.counts.reusedBytes += itemHeaderLength + node.size;
    }
    closeNode(node);
    return this.#queue.drain();
  }

  /** A file that is not in the tree. */
  madeFile(name: Buffer, metadata: EntryMetadata, content: Buffer): Promise<void> | void {
    this.#parts.catalog?.addFile(name, content.length, wholeSeconds(metadata.mtimeNs));
    this.#encoder.startFile(name, metadata, content.length);
    this.#encoder.fileData(content);
    this.#encoder.endFile();
    return this.#queue.drain();
  }

  /** Puts chunks of the previous payload archive here. */
  inject(chunks: readonly InjectedChunk[]): Promise<void> | void {
    const payload = this.#parts.sinks.payload!;
    const boundary = this.#encoder.payloadPosition;
    this.#encoder.skipPayload(chunks.reduce((sum, { size }) => sum + size, 0));
    this.#queue.add(() => payload.inject({ boundary, chunks }));
    return this.#queue.drain();
  }

  /** Completes the archive. */
  finish(): Promise<void> | void {
    this.#encoder.finish();
    return this.#queue.drain();
  }

  #hardLink(node: SourceNode): boolean {
    const first = node.inode === null ? undefined : this.#links.get(node.inode);
    if (first === undefined) return false;
    this.#parts.catalog?.add('h', node.name);
    this.#encoder.hardLink(node.name, first.position, first.path);
    return true;
  }

  #remember({ inode, path }: SourceNode, position: number): void {
    if (inode === null) return;
    this.#links.set(inode, { position, path });
    this.counts.linkedFiles += 1;
  }

  #suggest(): void {
    const { payload } = this.#parts.sinks;
    if (payload === undefined) return;
    this.#encoder.flushPayload();
    const position = this.#encoder.payloadPosition;
    this.#queue.add(() => payload.suggest(position));
  }

  async #largeContent(node: SourceNode): Promise<void> {
    for await (const bytes of fileContent(node, this.#parts.log)) {
      this.#encoder.fileData(bytes);
      await this.#queue.drain();
      throwIfAborted(this.#parts.signal);
    }
    this.#encoder.endFile();
    closeNode(node);
    await this.#queue.drain();
  }
}
