import assert from 'node:assert/strict';
import { asBuffer } from '../base/bytes.ts';
import { checkName } from './archive-entry.ts';
import { BlockOutput } from './block-output.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from './entry-metadata.ts';
import { encodeGoodbye, type ChildRecord } from './goodbye-table.ts';
import { itemHeaderLength, writeItemHeader, writeU64, type ItemKind } from './item.ts';
import { attributeItems, isPlain, statLength, writeStat } from './metadata-items.ts';
import { nodeLength, payloadReferenceLength, writeNode } from './plain-node.ts';
import { nameHash } from './sip-hash.ts';

/** Where an archive's bytes go, in order; they must not be changed. */
export interface ArchiveStreams {
  /** The unified archive, or the metadata archive of a split one. */
  archive: (bytes: Buffer) => void;
  /** The payload archive; without it the archive is unified (version 1). */
  payload?: (bytes: Buffer) => void;
}

interface OpenDirectory {
  /** Of its ENTRY item; 0 for the root. */
  entryPosition: number;
  /** Of its FILENAME item. */
  position: number;
  name: Buffer;
  children: ChildRecord[];
}

interface OpenFile {
  name: Buffer;
  position: number;
  size: number;
  left: number;
}

/** A zero byte behind names and targets. */
const nul = Buffer.of(0);

/**
 * Writes an archive (spec pxar 2 to 4): version 1 in one stream, version 2 in two. The caller gives the entries in order, sorted by name, and
 * content of exactly the size that it named. Reads nothing and checks what the format demands: FormatError for names and attributes
 * that do not fit, `assert` for calls in a wrong order.
 */
export class ArchiveEncoder {
  readonly #output: BlockOutput;
  readonly #payload: BlockOutput | null;
  readonly #open: OpenDirectory[] = [];
  #file: OpenFile | null = null;

  /** `prelude`: for split archives only. */
  constructor(streams: ArchiveStreams, root: EntryMetadata, prelude: Uint8Array | null = null) {
    this.#output = new BlockOutput(streams.archive);
    this.#payload = streams.payload === undefined ? null : new BlockOutput(streams.payload);
    assert.ok(this.#payload !== null || prelude === null, 'a unified archive has no prelude');
    assert.equal(fileTypeOf(root.mode), fileTypes.directory);
    if (this.#payload !== null) {
      const version = Buffer.alloc(8);
      writeU64(version, 2, 0);
      this.#item(this.#output, 'formatVersion', version);
      if (prelude !== null) this.#item(this.#output, 'prelude', asBuffer(prelude));
      this.#item(this.#payload, 'payloadStart');
    }
    this.#entry(root);
    this.#open.push({ entryPosition: 0, position: 0, name: Buffer.alloc(0), children: [] });
  }

  /** Bytes of the payload archive so far, injected chunks counted: where the next file's payload begins. */
  get payloadPosition(): number {
    assert.ok(this.#payload !== null, 'a unified archive has no payload stream');
    return this.#payload.position;
  }

  startDirectory(name: Buffer, metadata: EntryMetadata): void {
    assert.equal(fileTypeOf(metadata.mode), fileTypes.directory);
    const position = this.#filename(name);
    const entryPosition = this.#output.position;
    this.#entry(metadata);
    this.#open.push({ entryPosition, position, name: Buffer.from(name), children: [] });
  }

  /** Closes the current directory, not the root. */
  endDirectory(): void {
    assert.ok(this.#open.length > 1, 'no directory is open');
    const directory = this.#closeDirectory();
    this.#child(directory.name, directory.position, this.#output.position - directory.position);
  }

  symlink(name: Buffer, metadata: EntryMetadata, target: Buffer): void {
    assert.equal(fileTypeOf(metadata.mode), fileTypes.symlink);
    const position = this.#node(name, metadata);
    this.#item(this.#output, 'symlink', target, nul);
    this.#child(name, position, this.#output.position - position);
  }

  device(name: Buffer, metadata: EntryMetadata, { major, minor }: { major: number; minor: number }): void {
    const position = this.#node(name, metadata);
    const content = Buffer.alloc(16);
    writeU64(content, major, 0);
    writeU64(content, minor, 8);
    this.#item(this.#output, 'device', content);
    this.#child(name, position, this.#output.position - position);
  }

  /** Fifo or socket, by the mode. */
  special(name: Buffer, metadata: EntryMetadata): void {
    const type = fileTypeOf(metadata.mode);
    assert.ok(type === fileTypes.fifo || type === fileTypes.socket);
    const position = this.#node(name, metadata);
    this.#child(name, position, this.#output.position - position);
  }

  /** Begins a regular file; `size` bytes of content and `endFile` follow. Returns its position, for hard links to it. */
  startFile(name: Buffer, metadata: EntryMetadata, size: number): number {
    assert.equal(fileTypeOf(metadata.mode), fileTypes.file);
    const position = this.#node(name, metadata);
    if (this.#payload !== null) this.#reference(this.#payload.position, size);
    const content = this.#payload ?? this.#output;
    writeItemHeader(content.room(itemHeaderLength), 'payload', size, 0);
    this.#file = { name: Buffer.from(name), position, size, left: size };
    return position;
  }

  /** Bytes of the open file; they must not be changed afterwards. */
  fileData(bytes: Buffer): void {
    assert.ok(this.#file !== null && bytes.length <= this.#file.left, 'more content than the file has');
    this.#file.left -= bytes.length;
    (this.#payload ?? this.#output).write(bytes);
  }

  endFile(): void {
    const file = this.#file;
    assert.ok(file !== null && file.left === 0, 'less content than the file has');
    this.#file = null;
    const metadataSize = this.#output.position - file.position;
    // A new payload counts for its file although it lies in the other stream (spec pxar 4.2).
    this.#child(file.name, file.position, this.#payload === null ? metadataSize : metadataSize + file.size);
  }

  /** A regular file whose payload, item header included, is at `payloadPosition` among injected chunks. Returns its position. */
  reusedFile(name: Buffer, metadata: EntryMetadata, size: number, payloadPosition: number): number {
    assert.ok(this.#payload !== null);
    const position = this.#node(name, metadata);
    this.#reference(payloadPosition, size);
    this.#child(name, position, this.#output.position - position);
    return position;
  }

  /** Another name of the file at `target`, the position that `startFile` returned; `targetPath` from the root, without leading slash. */
  hardLink(name: Buffer, target: number, targetPath: Buffer): void {
    const position = this.#filename(name);
    const offset = Buffer.alloc(8);
    writeU64(offset, position - target, 0);
    this.#item(this.#output, 'hardlink', offset, targetPath, nul);
    this.#child(name, position, this.#output.position - position);
  }

  /** Counts chunks of `length` bytes that take their place in the payload stream here. What was written before is passed on first. */
  skipPayload(length: number): void {
    assert.ok(this.#payload !== null);
    this.#payload.skip(length);
  }

  /** Passes on what is held back of the payload archive: what is told about its place then comes in order. */
  flushPayload(): void {
    this.#payload?.flush();
  }

  /** Passes on what is held back in blocks. */
  flush(): void {
    this.#output.flush();
    this.#payload?.flush();
  }

  /** Closes the root. Once. */
  finish(): void {
    assert.equal(this.#open.length, 1, 'a directory is still open');
    this.#closeDirectory();
    if (this.#payload !== null) this.#item(this.#payload, 'payloadTail');
    this.flush();
  }

  #closeDirectory(): OpenDirectory {
    assert.equal(this.#file, null, 'a file is still open');
    const directory = this.#open.pop()!;
    this.#output.write(encodeGoodbye(directory.children, directory.entryPosition, this.#output.position));
    return directory;
  }

  #child(name: Buffer, position: number, size: number): void {
    this.#open.at(-1)!.children.push({ hash: nameHash(name), position, size });
  }

  #node(name: Buffer, metadata: EntryMetadata): number {
    if (!isPlain(metadata)) {
      const position = this.#filename(name);
      this.#entry(metadata);
      return position;
    }
    assert.equal(this.#file, null, 'a file is still open');
    checkName(name);
    const { position } = this.#output;
    writeNode(this.#output.room(nodeLength(name)), name, metadata, 0);
    return position;
  }

  #filename(name: Buffer): number {
    assert.equal(this.#file, null, 'a file is still open');
    checkName(name);
    const { position } = this.#output;
    this.#item(this.#output, 'filename', name, nul);
    return position;
  }

  #entry(metadata: EntryMetadata): void {
    const item = this.#output.room(itemHeaderLength + statLength);
    writeItemHeader(item, 'entry', statLength, 0);
    writeStat(item, metadata, itemHeaderLength);
    for (const [kind, content] of attributeItems(metadata)) this.#item(this.#output, kind, content);
  }

  #reference(position: number, size: number): void {
    const item = this.#output.room(payloadReferenceLength);
    writeItemHeader(item, 'payloadReference', 16, 0);
    writeU64(item, position, itemHeaderLength);
    writeU64(item, size, itemHeaderLength + 8);
  }

  #item(output: BlockOutput, kind: ItemKind, ...parts: Buffer[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const item = output.room(itemHeaderLength + length);
    writeItemHeader(item, kind, length, 0);
    let at = itemHeaderLength;
    for (const part of parts) at += part.copy(item, at);
  }
}
