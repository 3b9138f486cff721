import { read } from 'node:fs';
import { promisify } from 'node:util';
import { StoreError } from '../base/errors.ts';

const readAsync = promisify(read);

/** What is left to read of an open descriptor, at most `maxBytes`: a secret that somebody else opened for us. StoreError `store.too-large`, or the system's error. */
export async function readDescriptor(descriptor: number, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let total = 0; ; ) {
    const piece = Buffer.alloc(64 * 1024);
    const { bytesRead } = await readAsync(descriptor, piece, 0, piece.length, null);
    if (bytesRead === 0) return Buffer.concat(pieces);
    total += bytesRead;
    if (total > maxBytes) throw new StoreError('store.too-large', `more than ${maxBytes} bytes`);
    pieces.push(piece.subarray(0, bytesRead));
  }
}
