import { promisify } from 'node:util';
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { asBuffer } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';

/** With the size known beforehand the frame announces it, as the reference's do; zlib's asynchronous variant would not find it out. */
function compressOptions(data: Uint8Array): { params: Record<number, number>; pledgedSrcSize: number } {
  return { params: { [constants.ZSTD_c_compressionLevel]: 1 }, pledgedSrcSize: data.byteLength };
}

/** The reference's bounded output buffer makes zstd give up up to this size (spec formats 1.3, step 2). */
const tinyPayload = 24;

/** Below this a thread hop costs more than the work. */
const asyncThreshold = 32 * 1024;

const zstdMagic = 0xfd2fb528;
/** Lowest of the sixteen magics of skippable frames. */
const skippableMagic = 0x184d2a50;
const dictionaryIdBytes = [0, 1, 2, 4];

interface FrameInfo {
  /** Offset behind the frame. */
  end: number;
  /** Content size that the header announces, null when it says none. */
  announced: number | null;
}

function damaged(why: string): FormatError {
  return new FormatError('format.zstd', `zstd data is damaged: ${why}`);
}

/** Walks the block headers of the frame at `at` (RFC 8878, 3.1). */
function walkFrame(bytes: Buffer, at: number): FrameInfo {
  const need = (end: number): void => {
    if (end > bytes.byteLength) throw damaged('it ends inside a frame');
  };
  need(at + 8);
  const magic = bytes.readUInt32LE(at);
  if ((magic & 0xfffffff0) >>> 0 === skippableMagic) {
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    need(end);
    return { end, announced: 0 };
  }
  if (magic !== zstdMagic) throw damaged('something that is not a frame');
  const descriptor = bytes[at + 4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(singleSegment) : 1 << sizeFlag;
  let end = at + 5 + Number(!singleSegment) + dictionaryIdBytes[descriptor & 3]!;
  need(end + sizeBytes);
  let announced: number | null = null;
  if (sizeBytes === 1) announced = bytes[end]!;
  else if (sizeBytes === 2) announced = bytes.readUInt16LE(end) + 256;
  else if (sizeBytes === 4) announced = bytes.readUInt32LE(end);
  else if (sizeBytes === 8) announced = Number(bytes.readBigUInt64LE(end));
  end += sizeBytes;
  for (let last = false; !last; ) {
    need(end + 3);
    const header = bytes.readUIntLE(end, 3);
    last = (header & 1) !== 0;
    const isRunLength = ((header >> 1) & 3) === 1;
    end += 3 + (isRunLength ? 1 : header >> 3);
    need(end);
  }
  if ((descriptor & 4) !== 0) end += 4;
  need(end);
  return { end, announced };
}

/**
 * Content size that all frames together announce, null when one does not say. Node's zlib silently ignores what stands behind
 * the last frame, so the frames are walked here: they must fill `bytes` exactly.
 */
function announcedSize(bytes: Buffer): number | null {
  if (bytes.byteLength === 0) throw damaged('it is empty');
  let total: number | null = 0;
  for (let at = 0; at < bytes.byteLength; ) {
    const { end, announced } = walkFrame(bytes, at);
    total = total === null || announced === null ? null : total + announced;
    at = end;
  }
  return total;
}

function tooLarge(maxSize: number, cause?: unknown): FormatError {
  return new FormatError('format.too-large', `decompressed data is larger than ${maxSize} bytes`, { cause });
}

function decompressOptions(frames: Buffer, announced: number | null, maxSize: number): { maxOutputLength: number; chunkSize: number } {
  if (announced !== null && announced > maxSize) throw tooLarge(maxSize);
  // One output buffer of the right size saves the copying together; the announcement is not trusted beyond the bound.
  // The frame's window (up to 128 MiB, zlib's default) is only address space: no page of it is touched beyond the output.
  const chunkSize = Math.min(Math.max(announced ?? 4 * frames.byteLength, 1024) + 64, 16 * 1024 * 1024 + 64);
  // zlib wants at least 1 and compares with `>`.
  return { maxOutputLength: Math.max(maxSize, 1), chunkSize };
}

function decompressError(e: unknown, maxSize: number): FormatError {
  if (e instanceof FormatError) return e;
  if (e instanceof Error && 'code' in e && e.code === 'ERR_BUFFER_TOO_LARGE') return tooLarge(maxSize, e);
  return new FormatError('format.zstd', 'zstd data is damaged', { cause: e });
}

function checked(data: Buffer, announced: number | null, maxSize: number): Buffer {
  if (data.byteLength > maxSize) throw tooLarge(maxSize);
  if (announced !== null && data.byteLength !== announced) throw damaged(`${data.byteLength} bytes instead of ${announced}`);
  return data;
}

/**
 * Decodes one or more concatenated zstd frames to at most `maxSize` bytes. FormatError `format.too-large`, `format.zstd`
 * (also for truncated frames and for anything behind the last frame).
 */
export function decompress(payload: Uint8Array, maxSize: number): Buffer {
  const frames = asBuffer(payload);
  const announced = announcedSize(frames);
  const options = decompressOptions(frames, announced, maxSize);
  try {
    return checked(zstdDecompressSync(frames, options), announced, maxSize);
  } catch (e) {
    throw decompressError(e, maxSize);
  }
}

const zstdDecompressAsync = promisify(zstdDecompress) as (data: Buffer, options: object) => Promise<Buffer>;
const zstdCompressAsync = promisify(zstdCompress) as (data: Uint8Array, options: object) => Promise<Buffer>;

/** Like `decompress`, off the event loop unless there is little to do. */
export async function decompressAsync(payload: Uint8Array, maxSize: number): Promise<Buffer> {
  const frames = asBuffer(payload);
  const announced = announcedSize(frames);
  // A small frame can decode to much: then the work is not small.
  if (frames.byteLength < asyncThreshold && announced !== null && announced < 8 * asyncThreshold) return decompress(payload, maxSize);
  const options = decompressOptions(frames, announced, maxSize);
  try {
    return checked(await zstdDecompressAsync(frames, options), announced, maxSize);
  } catch (e) {
    throw decompressError(e, maxSize);
  }
}

/** One level-1 frame, or null when the data is to be stored uncompressed: tiny, or the frame would be larger (spec formats 1.3). */
export function compress(data: Uint8Array): Buffer | null {
  if (data.byteLength <= tinyPayload) return null;
  const frame = zstdCompressSync(data, compressOptions(data));
  return frame.byteLength <= data.byteLength ? frame : null;
}

/** Like `compress`, off the event loop unless the data is small. */
export async function compressAsync(data: Uint8Array): Promise<Buffer | null> {
  if (data.byteLength < asyncThreshold) return compress(data);
  const frame = await zstdCompressAsync(data, compressOptions(data));
  return frame.byteLength <= data.byteLength ? frame : null;
}
