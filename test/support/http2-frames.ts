/** HTTP/2 frames by hand, for answers that no HTTP/2 library would send. */
export const frameType = { data: 0, headers: 1, reset: 3, settings: 4, goaway: 7 } as const;
export const endStream = 1;
const endHeaders = 4;

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value, 4 * i));
  return bytes;
}

/** HEADERS frame of an answer; each field as a literal, nothing indexed. */
export function answerFrame(streamId: number, fields: Record<string, string>, flags = 0): Buffer {
  const parts = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]),
  );
  return frame(frameType.headers, endHeaders | flags, streamId, Buffer.concat(parts));
}

/** Ids of the streams that HEADERS frames in `bytes` open; the client preface may lead. */
export function openedStreams(bytes: Buffer): number[] {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  const ids: number[] = [];
  let at = bytes.subarray(0, preface.length).toString('latin1') === preface ? preface.length : 0;
  while (at + 9 <= bytes.length) {
    if (bytes[at + 3] === frameType.headers) ids.push(bytes.readUInt32BE(at + 5));
    at += 9 + bytes.readUIntBE(at, 3);
  }
  return ids;
}
