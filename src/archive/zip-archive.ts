import { Readable } from 'node:stream';
import { crc32, createDeflateRaw, deflateRawSync } from 'node:zlib';

/** What a zip holds: paths of directories end in `/`. */
export interface ZipEntry {
  path: Buffer;
  /** The whole `st_mode`. */
  mode: number;
  mtimeSeconds: number;
  content: AsyncIterable<Buffer>;
}

const version = 45;
const madeOnUnix = 3 << 8;
/** Sizes follow the content; names are UTF-8 as far as the reference cares. */
const flags = 0x0808;
const deflated = 8;
const fastest = 1;
const emptyDeflate = deflateRawSync(Buffer.alloc(0));
/** Contents up to this are deflated at once: a stream for each would be most of the work. */
const smallLength = 64 * 1024;
const none32 = 0xffff_ffff;
const none16 = 0xffff;
const directoryAttribute = 0x10;
const firstYear = 1980;
const lastYear = 2107;

interface Written {
  entry: Pick<ZipEntry, 'path' | 'mode' | 'mtimeSeconds'>;
  offset: number;
  crc: number;
  packed: number;
  size: number;
}

/** Time and date as DOS has them, in UTC as by the reference; within the years that can be said. */
function dosTime(seconds: number): { time: number; date: number } {
  const at = new Date(Math.min(Math.max(seconds, Date.UTC(firstYear, 0, 1) / 1000), Date.UTC(lastYear, 11, 31) / 1000) * 1000);
  return {
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    date: ((at.getUTCFullYear() - firstYear) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  };
}

function localHeader({ path, mtimeSeconds }: ZipEntry): Buffer {
  const { time, date } = dosTime(mtimeSeconds);
  const head = Buffer.alloc(30 + 20);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(version, 4);
  head.writeUInt16LE(flags, 6);
  head.writeUInt16LE(deflated, 8);
  head.writeUInt16LE(time, 10);
  head.writeUInt16LE(date, 12);
  head.writeUInt32LE(none32, 18);
  head.writeUInt32LE(none32, 22);
  head.writeUInt16LE(path.length, 26);
  head.writeUInt16LE(20, 28);
  // The extra field that says sizes have 64 bits, those behind the content too.
  head.writeUInt16LE(1, 30);
  head.writeUInt16LE(16, 32);
  return Buffer.concat([head.subarray(0, 30), path, head.subarray(30)]);
}

function descriptor({ crc, packed, size }: Written): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt32LE(0x08074b50, 0);
  bytes.writeUInt32LE(crc, 4);
  bytes.writeBigUInt64LE(BigInt(packed), 8);
  bytes.writeBigUInt64LE(BigInt(size), 16);
  return bytes;
}

function centralHeader({ entry, offset, crc, packed, size }: Written): Buffer {
  const { time, date } = dosTime(entry.mtimeSeconds);
  const isLarge = [offset, packed, size].some((value) => value >= none32);
  const extra = isLarge ? Buffer.alloc(28) : Buffer.alloc(0);
  if (isLarge) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    for (const [i, value] of [size, packed, offset].entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
  }
  const head = Buffer.alloc(46);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt16LE(madeOnUnix | version, 4);
  head.writeUInt16LE(version, 6);
  head.writeUInt16LE(flags, 8);
  head.writeUInt16LE(deflated, 10);
  head.writeUInt16LE(time, 12);
  head.writeUInt16LE(date, 14);
  head.writeUInt32LE(crc, 16);
  head.writeUInt32LE(isLarge ? none32 : packed, 20);
  head.writeUInt32LE(isLarge ? none32 : size, 24);
  head.writeUInt16LE(entry.path.length, 28);
  head.writeUInt16LE(extra.length, 30);
  head.writeUInt32LE(((entry.mode << 16) | (isDirectory(entry) ? directoryAttribute : 0)) >>> 0, 38);
  head.writeUInt32LE(isLarge ? none32 : offset, 42);
  return Buffer.concat([head, entry.path, extra]);
}

/** End of the directory at `offset`; with the 64-bit records where the old one cannot say it. */
function directoryEnd(count: number, length: number, offset: number): Buffer {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(count, none16), 8);
  end.writeUInt16LE(Math.min(count, none16), 10);
  end.writeUInt32LE(Math.min(length, none32), 12);
  end.writeUInt32LE(Math.min(offset, none32), 16);
  if (count < none16 && length < none32 && offset < none32) return end;
  const large = Buffer.alloc(56 + 20);
  large.writeUInt32LE(0x06064b50, 0);
  large.writeBigUInt64LE(44n, 4);
  large.writeUInt16LE(madeOnUnix | version, 12);
  large.writeUInt16LE(version, 14);
  for (const [i, value] of [count, count, length, offset].entries()) large.writeBigUInt64LE(BigInt(value), 24 + 8 * i);
  large.writeUInt32LE(0x07064b50, 56);
  large.writeBigUInt64LE(BigInt(offset + length), 64);
  large.writeUInt32LE(1, 72);
  return Buffer.concat([large, end]);
}

function isDirectory({ path }: Pick<ZipEntry, 'path'>): boolean {
  return path.at(-1) === 0x2f;
}

/** The rest of an iteration that has begun. */
async function* restOf(pieces: AsyncIterator<Buffer>, begin: readonly Buffer[]): AsyncGenerator<Buffer, void, undefined> {
  yield* begin;
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
}

/** `content` deflated piece by piece; what is known of it is noted in `written`. */
async function* packedContent(content: AsyncIterable<Buffer>, written: Written): AsyncGenerator<Buffer, void, undefined> {
  const pieces = content[Symbol.asyncIterator]();
  const count = (bytes: Buffer): Buffer => {
    written.crc = crc32(bytes, written.crc);
    written.size += bytes.length;
    return bytes;
  };
  const first = await pieces.next();
  if (first.done === true) {
    if (isDirectory(written.entry)) return;
    // Readers want a whole stream of deflate even of nothing; of directories they look at none.
    written.packed = emptyDeflate.length;
    yield emptyDeflate;
    return;
  }
  const second = first.value.length <= smallLength ? await pieces.next() : null;
  if (second?.done === true) {
    const packed = deflateRawSync(count(first.value), { level: fastest });
    written.packed += packed.length;
    yield packed;
    return;
  }
  const counted = async function* (): AsyncGenerator<Buffer, void, undefined> {
    for await (const bytes of restOf(pieces, second === null ? [first.value] : [first.value, second.value])) yield count(bytes);
  };
  const deflate = createDeflateRaw({ level: fastest });
  const input = Readable.from(counted(), { objectMode: false });
  input.on('error', (e) => deflate.destroy(e));
  try {
    for await (const bytes of input.pipe(deflate) as AsyncIterable<Buffer>) {
      written.packed += bytes.length;
      yield bytes;
    }
  } finally {
    input.destroy();
    deflate.destroy();
  }
}

/**
 * A zip of `entries` as the reference streams it (spec pxar 8.8): deflated with the fastest level, sizes behind the contents, all of any size. Paths are bytes. What
 * `entries` throw is thrown.
 */
export async function* zipArchive(entries: AsyncIterable<ZipEntry>): AsyncGenerator<Buffer, void, undefined> {
  const all: Written[] = [];
  let position = 0;
  const pass = (bytes: Buffer): Buffer => {
    position += bytes.length;
    return bytes;
  };
  for await (const entry of entries) {
    const { path, mode, mtimeSeconds } = entry;
    const written: Written = { entry: { path, mode, mtimeSeconds }, offset: position, crc: 0, packed: 0, size: 0 };
    yield pass(localHeader(entry));
    for await (const bytes of packedContent(entry.content, written)) yield pass(bytes);
    yield pass(descriptor(written));
    all.push(written);
  }
  const start = position;
  for (const written of all) yield pass(centralHeader(written));
  yield directoryEnd(all.length, position - start, start);
}
