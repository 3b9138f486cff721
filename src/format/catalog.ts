import assert from 'node:assert/strict';
import { asBuffer } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { decodeSigned, decodeUnsigned, encodeSigned, encodeUnsigned, type VarintReader } from './varint.ts';

/** `catalog.pcat1` (spec catalog). Positions are offsets in the decoded stream. */
export const catalogMagic = Buffer.from('91fd60f9c46758d5', 'hex');

/** Kinds without further fields: symlink, hard link, block and char device, fifo, socket. */
export type CatalogSimpleType = 'l' | 'h' | 'b' | 'c' | 'p' | 's';

export type CatalogEntry =
  | { type: 'd'; name: Buffer; /** Position of the directory's block. */ position: number }
  | { type: 'f'; name: Buffer; size: number; /** Seconds since the epoch. */ mtime: number }
  | { type: CatalogSimpleType; name: Buffer };

export const maxCatalogNameLength = 4095;
/** Bound on one directory's block: a million entries of 256 bytes. */
export const maxCatalogBlockLength = 256 * 1024 * 1024;
const maxDepth = 4096;
const pointerLength = 8;
/** Longest `table_len` field. */
export const catalogBlockPrefix = 10;

function fail(why: string): never {
  throw new FormatError('format.catalog', `catalog: ${why}`);
}

const simpleTypes = 'lhbcps';

function encodeEntry(entry: CatalogEntry, parent: number): Buffer[] {
  assert.ok(entry.name.byteLength <= maxCatalogNameLength, 'catalog name too long');
  const head = [Buffer.from(entry.type, 'latin1'), encodeUnsigned(entry.name.byteLength), entry.name];
  if (entry.type === 'd') head.push(encodeUnsigned(parent - entry.position));
  else if (entry.type === 'f') head.push(encodeUnsigned(entry.size), encodeSigned(entry.mtime));
  return head;
}

/** The block of one directory at stream position `position`. */
export function encodeCatalogBlock(entries: readonly CatalogEntry[], position: number): Buffer {
  const table = Buffer.concat([encodeUnsigned(entries.length), ...entries.flatMap((entry) => encodeEntry(entry, position))]);
  return Buffer.concat([encodeUnsigned(table.byteLength), table]);
}

/** Builds a catalog in one pass, children before parents; the bytes are handed to `write` in order (spec catalog 3). */
export class CatalogEncoder {
  readonly #write: (bytes: Buffer) => void;
  readonly #open: Array<{ name: Buffer; entries: CatalogEntry[] }> = [{ name: Buffer.alloc(0), entries: [] }];
  #position = 0;

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
    this.#emit(catalogMagic);
  }

  /** Opens a directory in the current one; in the root one per archive, with its server name. */
  startDirectory(name: Uint8Array): void {
    this.#open.push({ name: Buffer.from(name), entries: [] });
  }

  addFile(name: Uint8Array, size: number, mtime: number): void {
    this.#current().push({ type: 'f', name: Buffer.from(name), size, mtime });
  }

  add(type: CatalogSimpleType, name: Uint8Array): void {
    this.#current().push({ type, name: Buffer.from(name) });
  }

  /** Closes the current directory, not the root. */
  endDirectory(): void {
    assert.ok(this.#open.length > 1, 'no directory is open');
    const { name, entries } = this.#open.pop()!;
    this.#current().push({ type: 'd', name, position: this.#block(entries) });
  }

  /** Writes the root and its pointer; every directory has been closed. Once. */
  finish(): void {
    assert.equal(this.#open.length, 1, 'a directory is still open');
    const root = this.#block(this.#open.pop()!.entries);
    const pointer = Buffer.alloc(pointerLength);
    pointer.writeBigUInt64LE(BigInt(root));
    this.#emit(pointer);
  }

  #current(): CatalogEntry[] {
    const current = this.#open.at(-1);
    assert.ok(current !== undefined, 'catalog is finished');
    return current.entries;
  }

  #block(entries: readonly CatalogEntry[]): number {
    const position = this.#position;
    this.#emit(encodeCatalogBlock(entries, position));
    return position;
  }

  #emit(bytes: Buffer): void {
    this.#position += bytes.byteLength;
    this.#write(bytes);
  }
}

/** Position of the root block from the first 8 and the last 8 bytes of a catalog of `length` bytes. FormatError `format.catalog`. */
export function catalogRoot(head: Uint8Array, tail: Uint8Array, length: number): number {
  if (length < catalogMagic.byteLength + 2 + pointerLength) fail(`too small (${length} bytes)`);
  if (!asBuffer(head).subarray(0, catalogMagic.byteLength).equals(catalogMagic)) fail('wrong magic');
  const position = asBuffer(tail).readBigUInt64LE(tail.byteLength - pointerLength);
  if (position < BigInt(catalogMagic.byteLength) || position >= BigInt(length - pointerLength)) fail(`root pointer ${position} out of range`);
  return Number(position);
}

/** Length of the whole block (prefix included) whose first `catalogBlockPrefix` bytes, or fewer at the end of the file, are `head`. */
export function catalogBlockLength(head: Uint8Array): number {
  const reader: VarintReader = { bytes: head, offset: 0 };
  const table = decodeUnsigned(reader);
  if (table < 1 || table > maxCatalogBlockLength) fail(`directory block of ${table} bytes`);
  return reader.offset + table;
}

/** Entries of the whole block `block` at stream position `position`. Names are copies. FormatError `format.catalog`. */
export function decodeCatalogBlock(block: Uint8Array, position: number): CatalogEntry[] {
  const length = catalogBlockLength(block);
  if (block.byteLength < length) fail('directory block is truncated');
  const bytes = asBuffer(block).subarray(0, length);
  const reader: VarintReader = { bytes, offset: 0 };
  decodeUnsigned(reader);
  const count = decodeUnsigned(reader);
  // Nothing is allocated by `count`: a false one ends at the first missing entry.
  const entries: CatalogEntry[] = [];
  for (let i = 0; i < count; i += 1) entries.push(decodeEntry(reader, position));
  if (reader.offset !== length) fail('bytes behind the last entry of a directory block');
  return entries;
}

function decodeEntry(reader: VarintReader, parent: number): CatalogEntry {
  const type = String.fromCharCode(reader.bytes[reader.offset] ?? 0);
  reader.offset += 1;
  const nameLength = decodeUnsigned(reader);
  if (nameLength > maxCatalogNameLength) fail(`name of ${nameLength} bytes`);
  const nameEnd = reader.offset + nameLength;
  if (nameEnd > reader.bytes.byteLength) fail('name is truncated');
  const name = Buffer.from(reader.bytes.subarray(reader.offset, nameEnd));
  reader.offset = nameEnd;
  if (type === 'd') {
    const back = decodeUnsigned(reader);
    const position = parent - back;
    if (back === 0 || position < catalogMagic.byteLength) fail(`back pointer ${back} out of range`);
    return { type, name, position };
  }
  if (type === 'f') return { type, name, size: decodeUnsigned(reader), mtime: decodeSigned(reader) };
  if (!simpleTypes.includes(type)) fail(`unknown entry type ${type.charCodeAt(0)}`);
  return { type: type as CatalogSimpleType, name };
}

/** Bytes of a catalog wherever they lie: exactly `length` bytes from `offset`. */
export type CatalogReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Directed reading of a catalog through `readAt`: one directory at a time, memory for one block. */
export class CatalogReader {
  readonly #readAt: CatalogReadAt;
  readonly #length: number;

  /** `length`: bytes of the whole catalog. */
  constructor(readAt: CatalogReadAt, length: number) {
    this.#readAt = readAt;
    this.#length = length;
  }

  /** Position of the root directory. */
  async root(): Promise<number> {
    if (this.#length < catalogMagic.byteLength + 2 + pointerLength) return fail(`too small (${this.#length} bytes)`);
    const head = await this.#readAt(0, catalogMagic.byteLength);
    return catalogRoot(head, await this.#readAt(this.#length - pointerLength, pointerLength), this.#length);
  }

  /** Entries of the directory at `position`, in stored order. FormatError `format.catalog`. */
  async directory(position: number): Promise<CatalogEntry[]> {
    const end = this.#length - pointerLength;
    if (position < catalogMagic.byteLength || position >= end) fail(`directory position ${position} out of range`);
    const length = catalogBlockLength(await this.#readAt(position, Math.min(catalogBlockPrefix, end - position)));
    if (position + length > end) fail('directory block is truncated');
    return decodeCatalogBlock(await this.#readAt(position, length), position);
  }

  /**
   * The entry at `path`: `/` (one leading slash is optional) and names joined by `/`, compared bytewise (spec catalog 5). Null for the root itself.
   * FormatError `format.catalog-path` when there is none.
   */
  async lookup(path: Uint8Array): Promise<CatalogEntry | null> {
    const text = asBuffer(path).toString('latin1');
    const relative = text.startsWith('/') ? text.slice(1) : text;
    if (relative === '') return null;
    let position: number | null = await this.root();
    let found: CatalogEntry | undefined;
    for (const name of relative.split('/')) {
      const entries: CatalogEntry[] = position === null ? [] : await this.directory(position);
      found = entries.find((entry) => entry.name.equals(Buffer.from(name, 'latin1')));
      if (found === undefined) throw new FormatError('format.catalog-path', `path ${JSON.stringify(asBuffer(path).toString('utf8'))} not found in catalog`);
      position = found.type === 'd' ? found.position : null;
    }
    return found!;
  }

  /**
   * Everything below the directory at `position`, pre-order, with the names from there (outermost first). Positions of children are always below
   * their parent's, so a walk ends; directories that are reached over several paths could still make it endless in practice, so it
   * stops with FormatError after more entries than the catalog has room for, and below 4096 levels.
   */
  async *walk(position: number): AsyncGenerator<{ path: Buffer[]; entry: CatalogEntry }, void, undefined> {
    const stack: Array<{ path: Buffer[]; entries: CatalogEntry[]; next: number }> = [{ path: [], entries: await this.directory(position), next: 0 }];
    // The shortest entry has two bytes.
    const maxEntries = Math.floor(this.#length / 2);
    for (let yielded = 0; stack.length > 0; ) {
      const top = stack.at(-1)!;
      const entry = top.entries[top.next];
      if (entry === undefined) {
        stack.pop();
        continue;
      }
      top.next += 1;
      yielded += 1;
      if (yielded > maxEntries) fail('directories are listed more than once');
      if (stack.length > maxDepth) fail(`more than ${maxDepth} levels of directories`);
      const path = [...top.path, entry.name];
      yield { path, entry };
      if (entry.type === 'd') stack.push({ path, entries: await this.directory(entry.position), next: 0 });
    }
  }
}
