import { goodbyeRecordLength, goodbyeTail, itemHeaderLength, pxarError, readU64, writeItemHeader, writeU64 } from './item.ts';
import { compareHashes, nameHash, type Hash64 } from './sip-hash.ts';

/** A child of a directory that is being written. */
export interface ChildRecord {
  hash: Hash64;
  /** Position of its FILENAME item. */
  position: number;
  /** Its bytes in the metadata, for new files of split archives its payload's too (spec pxar 4.2). */
  size: number;
}

/** For each place of the table, which record of the ascending ones stands there: an implicit binary search tree (spec pxar 4.3). */
export function searchTreeOrder(count: number): Uint32Array {
  const order = new Uint32Array(count);
  let rank = 0;
  // In order: left children first. The path is at most as long as the tree is deep.
  const path: number[] = [];
  for (let at = 0; at < count || path.length > 0; ) {
    if (at < count) {
      path.push(at);
      at = 2 * at + 1;
      continue;
    }
    const node = path.pop()!;
    order[node] = rank;
    rank += 1;
    at = 2 * node + 2;
  }
  return order;
}

function writeRecord(into: Buffer, at: number, hash: Hash64, offset: number, size: number): void {
  into.writeUInt32LE(hash.low, at);
  into.writeUInt32LE(hash.high, at + 4);
  writeU64(into, offset, at + 8);
  writeU64(into, size, at + 16);
}

/** The GOODBYE item at `position` of a directory whose entry begins at `start` (spec pxar 4.2). */
export function encodeGoodbye(children: ChildRecord[], start: number, position: number): Buffer {
  const length = (children.length + 1) * goodbyeRecordLength;
  const item = Buffer.alloc(itemHeaderLength + length);
  writeItemHeader(item, 'goodbye', length, 0);
  const sorted = children.toSorted((a, b) => compareHashes(a.hash, b.hash));
  for (const [place, rank] of searchTreeOrder(sorted.length).entries()) {
    const { hash, position: child, size } = sorted[rank]!;
    writeRecord(item, itemHeaderLength + place * goodbyeRecordLength, hash, position - child, size);
  }
  writeRecord(item, itemHeaderLength + children.length * goodbyeRecordLength, goodbyeTail, position - start, item.length);
  return item;
}

/** Where a directory lies, by the last record of its table. */
export interface DirectoryExtent {
  /** Position of the GOODBYE item. */
  goodbye: number;
  /** Where the directory's ENTRY item is; 0 for the root. */
  entry: number;
  /** Bytes of the GOODBYE item. */
  length: number;
}

/** Reads the last record of a table that ends at `end`. FormatError. */
export function decodeGoodbyeTail(record: Buffer, end: number): DirectoryExtent {
  if (record.readUInt32LE(0) !== goodbyeTail.low || record.readUInt32LE(4) !== goodbyeTail.high) throw pxarError('no directory ends here');
  const length = readU64(record, 16);
  const goodbye = end - length;
  const entry = goodbye - readU64(record, 8);
  const isWhole = length >= itemHeaderLength + goodbyeRecordLength && (length - itemHeaderLength) % goodbyeRecordLength === 0;
  if (!isWhole || goodbye < 0 || entry < 0 || entry >= goodbye) throw pxarError('end of a directory is out of range');
  return { goodbye, entry, length };
}

/** A place in a table: where the child begins, and its size as recorded. */
export interface TableChild {
  position: number;
  size: number;
}

/** The records of one directory's table, without the last. */
export class GoodbyeTable {
  readonly #bytes: Buffer;
  readonly #goodbye: number;
  readonly count: number;

  /** `item`: the whole GOODBYE item at position `goodbye`. */
  constructor(item: Buffer, goodbye: number) {
    this.#bytes = item.subarray(itemHeaderLength);
    this.#goodbye = goodbye;
    this.count = this.#bytes.length / goodbyeRecordLength - 1;
  }

  /** FormatError when the record points outside. */
  child(place: number): TableChild {
    const at = place * goodbyeRecordLength;
    const offset = readU64(this.#bytes, at + 8);
    const size = readU64(this.#bytes, at + 16);
    if (offset === 0 || offset > this.#goodbye) throw pxarError('directory entry is out of range');
    return { position: this.#goodbye - offset, size };
  }

  /** Places of the records whose hash is that of `name`. Several after a collision, or in a table that is not in order. */
  *find(name: Uint8Array): Generator<number, void, undefined> {
    const hash = nameHash(name);
    const pending = [0];
    for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
      if (place >= this.count) continue;
      const order = compareHashes(hash, this.#hash(place));
      if (order === 0) yield place;
      if (order >= 0) pending.push(2 * place + 2);
      if (order <= 0) pending.push(2 * place + 1);
    }
  }

  /** The first place with the hash of `name` in a table that is in order; null when there is none. */
  first(name: Uint8Array): number | null {
    const { high, low } = nameHash(name);
    for (let place = 0; place < this.count; ) {
      const at = place * goodbyeRecordLength;
      const order = high - this.#bytes.readUInt32LE(at + 4) || low - this.#bytes.readUInt32LE(at);
      if (order === 0) return place;
      place = 2 * place + (order > 0 ? 2 : 1);
    }
    return null;
  }

  #hash(place: number): Hash64 {
    const at = place * goodbyeRecordLength;
    return { low: this.#bytes.readUInt32LE(at), high: this.#bytes.readUInt32LE(at + 4) };
  }
}
