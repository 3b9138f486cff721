import { toHex } from '../base/bytes.ts';
import { throwIfAborted } from '../base/async.ts';
import { FormatError } from '../base/errors.ts';
import type { IndexEntry } from '../format/chunk-index.ts';
import { decodeBlobAsync } from '../format/data-blob.ts';
import type { ArchiveContent } from './archive-check.ts';
import { compareArchiveContent } from './archive-check.ts';
import type { ChunkBackend } from './chunk-backend.ts';
import type { IndexFile } from './index-file.ts';

/** Chunks that are read and decoded at the same time; all of them are in memory. */
const chunksAhead = 4;

/**
 * Plain content of an unencrypted index archive, chunk by chunk in order. Nothing is yielded before the index agrees with `expected` (its manifest
 * entry), and no chunk before its digest and length are right. Throws FormatError, StoreError, AbortedError.
 */
export async function* plainArchive(index: IndexFile, chunks: ChunkBackend, expected: ArchiveContent, signal?: AbortSignal): AsyncGenerator<Buffer, void> {
  compareArchiveContent(expected, { size: index.size, csum: toHex(await index.computeCsum()) });
  const ahead: Array<Promise<Buffer>> = [];
  try {
    for await (const entry of index.entries()) {
      throwIfAborted(signal);
      const reading = plainChunk(chunks, entry);
      // Whoever stops early leaves some behind: their failure is nobody's then.
      reading.catch(() => {});
      ahead.push(reading);
      if (ahead.length >= chunksAhead) yield await ahead.shift()!;
    }
    for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) yield await next;
  } finally {
    await Promise.allSettled(ahead);
  }
}

async function plainChunk(chunks: ChunkBackend, { digest, start, end }: IndexEntry): Promise<Buffer> {
  const data = await decodeBlobAsync(await chunks.read(digest), { digest, maxSize: end - start });
  if (data.byteLength !== end - start) throw new FormatError('format.chunk-size', `chunk ${toHex(digest)} holds ${data.byteLength} bytes instead of ${end - start}`);
  return data;
}
