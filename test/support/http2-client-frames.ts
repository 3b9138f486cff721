import { endStream, frame, frameType, u32 } from './http2-frames.ts';

/** What a client sends, by hand: bytes that no client library would send (RFC 9113, RFC 7541). */

export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Types that http2-frames.ts has no use for. */
const endHeaders = 4;
export const ping = 6;
export const windowUpdate = 8;

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

/** SETTINGS of the reference's client, and its window update. */
export function clientHello(): Buffer {
  const settings = Buffer.alloc(12);
  settings.writeUInt16BE(4, 0);
  settings.writeUInt32BE(2_147_483_646, 2);
  settings.writeUInt16BE(5, 6);
  settings.writeUInt32BE(4_194_304, 8);
  return Buffer.concat([clientPreface, frame(frameType.settings, 0, 0, settings), frame(windowUpdate, 0, 0, u32(2_147_418_111))]);
}

/** HEADERS with END_STREAM; every header a literal without indexing. */
export function requestFrame(stream: number, method: string, path: string): Buffer {
  const headers = [[':method', method], [':scheme', 'https'], [':authority', 'localhost:8007'], [':path', path]] as const;
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return frame(frameType.headers, endHeaders | endStream, stream, Buffer.concat(headers.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)])));
}

/** The whole frames at the start of `bytes`. */
export function decodeFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, at + 9 + length) });
    at += 9 + length;
  }
  return frames;
}
