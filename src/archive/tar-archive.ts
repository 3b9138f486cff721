import assert from 'node:assert/strict';
import type { EntryMetadata } from '../pxar/entry-metadata.ts';

/** What a tar holds (GNU format). */
export type TarEntry = { path: Buffer; metadata: Pick<EntryMetadata, 'mode' | 'uid' | 'gid' | 'mtimeNs'> } & (
  | { type: 'directory' | 'fifo' }
  | { type: 'file'; size: number; content: AsyncIterable<Buffer> }
  | { type: 'symlink' | 'link'; target: Buffer }
  | { type: 'character' | 'block'; major: number; minor: number }
);

const blockLength = 512;
const nameLength = 100;
const kinds = { file: '0', link: '1', symlink: '2', character: '3', block: '4', directory: '5', fifo: '6' } as const;

/** `digits` octal digits and NUL; what needs more, or is below zero, as a big-endian number with the top bit set (GNU). */
function writeNumber(header: Buffer, offset: number, digits: number, value: bigint): void {
  const text = value.toString(8);
  if (value >= 0n && text.length <= digits) {
    header.write(text.padStart(digits, '0'), offset, 'latin1');
    return;
  }
  const length = digits + 1;
  let left = BigInt.asUintN(8 * length, value);
  for (let at = length - 1; at >= 0; at -= 1) {
    header[offset + at] = Number(left & 0xffn);
    left >>= 8n;
  }
  header[offset] = value < 0n ? 0xff : header[offset]! | 0x80;
}

interface Fields {
  path: Buffer;
  link?: Buffer | undefined;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: bigint;
  kind: string;
  device?: { major: number; minor: number } | undefined;
}

function header(fields: Fields): Buffer {
  const block = Buffer.alloc(blockLength);
  fields.path.copy(block, 0, 0, nameLength);
  writeNumber(block, 100, 7, BigInt(fields.mode));
  writeNumber(block, 108, 7, BigInt(fields.uid));
  writeNumber(block, 116, 7, BigInt(fields.gid));
  writeNumber(block, 124, 11, BigInt(fields.size));
  writeNumber(block, 136, 11, fields.mtime);
  block.fill(' ', 148, 156);
  block.write(fields.kind, 156, 'latin1');
  fields.link?.copy(block, 157, 0, nameLength);
  block.write('ustar  \0', 257, 'latin1');
  if (fields.device !== undefined) {
    writeNumber(block, 329, 7, BigInt(fields.device.major));
    writeNumber(block, 337, 7, BigInt(fields.device.minor));
  }
  const sum = block.reduce((a, b) => a + b, 0);
  writeNumber(block, 148, 7, BigInt(sum));
  block[155] = 0;
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((blockLength - (size % blockLength)) % blockLength);
}

/** A path or target that has no place in the header, before it (GNU `L`, `K`). */
function longName(kind: 'L' | 'K', name: Buffer): Buffer[] {
  const size = name.length + 1;
  const head = header({ path: Buffer.from('././@LongLink'), mode: 0o644, uid: 0, gid: 0, size, mtime: 0n, kind });
  return [head, name, Buffer.alloc(1), padding(size)];
}

function floorSeconds(nanoseconds: bigint): bigint {
  return (nanoseconds - BigInt.asUintN(64, ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n;
}

function entryHeader(entry: TarEntry): Buffer {
  const { path, metadata } = entry;
  const link = 'target' in entry ? entry.target : undefined;
  const before = [...(path.length > nameLength ? longName('L', path) : []), ...(link !== undefined && link.length > nameLength ? longName('K', link) : [])];
  const { mode, uid, gid, mtimeNs } = metadata;
  const size = entry.type === 'file' ? entry.size : 0;
  const device = 'major' in entry ? entry : undefined;
  return Buffer.concat([...before, header({ path, link, mode, uid, gid, size, mtime: floorSeconds(mtimeNs), kind: kinds[entry.type], device })]);
}

/** A tar of `entries` as the reference streams it (spec pxar 8.8). Paths are bytes. What `entries` throw is thrown. */
export async function* tarArchive(entries: AsyncIterable<TarEntry>): AsyncGenerator<Buffer, void, undefined> {
  for await (const entry of entries) {
    yield entryHeader(entry);
    if (entry.type !== 'file') continue;
    let length = 0;
    for await (const bytes of entry.content) {
      length += bytes.length;
      yield bytes;
    }
    assert.equal(length, entry.size, 'as many bytes as the header says');
    yield padding(length);
  }
  yield Buffer.alloc(2 * blockLength);
}
