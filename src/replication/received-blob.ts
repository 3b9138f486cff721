import { createHash } from 'node:crypto';
import { FormatError } from '../base/errors.ts';
import { checkBlobCrc } from '../format/data-blob.ts';
import type { ExpectedContent } from './ports.ts';

/** A blob as it came, checked: CRC, and size and SHA-256 where they are known. Blobs are small: whole in memory, so that nothing unchecked goes on. */
export async function checkedBlob(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent | null): Promise<Buffer> {
  const bytes = await collectBlob(filename, data, expected);
  checkBlobCrc(bytes);
  if (expected !== null && createHash('sha256').update(bytes).digest('hex') !== expected.csum) {
    throw new FormatError('format.csum', `${filename}: the source sent content that does not match its manifest`);
  }
  return bytes;
}

async function collectBlob(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent | null): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of data) {
    size += part.byteLength;
    if (expected !== null && size > expected.size) throw new FormatError('format.size', `${filename}: the source sent more than the ${expected.size} bytes of its manifest`);
    parts.push(part);
  }
  if (expected !== null && size !== expected.size) throw new FormatError('format.size', `${filename}: the source sent ${size} bytes, its manifest says ${expected.size}`);
  return Buffer.concat(parts);
}
