import assert from 'node:assert/strict';
import { crc32, inflateRawSync } from 'node:zlib';

/** Readers of zip and tar for tests: strict, whole in memory. Names as latin1. */

export interface ZipMember {
  name: string;
  /** `st_mode`. */
  mode: number;
  time: number;
  content: Buffer;
}

/** By the central directory, which must agree with what stands before each member. */
export function readZip(zip: Buffer): ZipMember[] {
  const end = zip.length - 22;
  assert.equal(zip.readUInt32LE(end), 0x06054b50);
  let at = zip.readUInt32LE(end + 16);
  assert.equal(at + zip.readUInt32LE(end + 12), end, 'the directory ends where its end begins');
  const members: ZipMember[] = [];
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    assert.equal(zip.readUInt32LE(at), 0x02014b50);
    const [crc, packed, size, nameLength, extra, attributes, offset] = [zip.readUInt32LE(at + 16), zip.readUInt32LE(at + 20), zip.readUInt32LE(at + 24), zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30), zip.readUInt32LE(at + 38), zip.readUInt32LE(at + 42)];
    const name = zip.toString('latin1', at + 46, at + 46 + nameLength);
    assert.equal(zip.readUInt32LE(offset), 0x04034b50);
    assert.equal(zip.toString('latin1', offset + 30, offset + 30 + nameLength), name);
    const start = offset + 30 + nameLength + zip.readUInt16LE(offset + 28);
    const data = zip.subarray(start, start + packed);
    const content = packed === 0 ? Buffer.alloc(0) : inflateRawSync(data);
    assert.deepEqual([content.length, crc32(content)], [size, crc], name);
    const descriptor = start + packed;
    assert.deepEqual([zip.readUInt32LE(descriptor), zip.readUInt32LE(descriptor + 4), Number(zip.readBigUInt64LE(descriptor + 8)), Number(zip.readBigUInt64LE(descriptor + 16))], [0x08074b50, crc, packed, size], name);
    members.push({ name, mode: attributes >>> 16, time: zip.readUInt32LE(at + 12), content });
    at += 46 + nameLength + extra;
  }
  assert.equal(at, end);
  return members;
}

export interface TarMember {
  name: string;
  kind: string;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  link: string;
  device: string;
  content: Buffer;
}

function number(field: Buffer): number {
  if (field[0]! < 0x80) return Number.parseInt(field.toString('latin1').replace(/\0.*$/s, '') || '0', 8);
  return Number(BigInt.asIntN(64, BigInt(`0x${field.subarray(-8).toString('hex')}`)));
}

function text(field: Buffer): string {
  return field.toString('latin1').replace(/\0.*$/s, '');
}

/** GNU format, long names put in their place. */
export function readTar(tar: Buffer): TarMember[] {
  const members: TarMember[] = [];
  const long: { L?: string | undefined; K?: string | undefined } = {};
  let at = 0;
  for (; !tar.subarray(at, at + 512).every((byte) => byte === 0); ) {
    const block = Buffer.from(tar.subarray(at, at + 512));
    const sum = number(block.subarray(148, 156));
    block.fill(' ', 148, 156);
    assert.equal(block.reduce((a, b) => a + b, 0), sum, 'checksum of a header');
    const size = number(block.subarray(124, 136));
    const content = tar.subarray(at + 512, at + 512 + size);
    const kind = String.fromCharCode(block[156]!);
    at += 512 + Math.ceil(size / 512) * 512;
    if (kind === 'L' || kind === 'K') {
      long[kind] = text(content);
      continue;
    }
    members.push({
      name: long.L ?? text(block.subarray(0, 100)),
      kind,
      mode: number(block.subarray(100, 108)),
      uid: number(block.subarray(108, 116)),
      gid: number(block.subarray(116, 124)),
      mtime: number(block.subarray(136, 148)),
      link: long.K ?? text(block.subarray(157, 257)),
      device: `${number(block.subarray(329, 337))},${number(block.subarray(337, 345))}`,
      content,
    });
    long.L = undefined;
    long.K = undefined;
  }
  assert.equal(tar.length - at, 1024, 'two blocks of zeros at the end');
  return members;
}
