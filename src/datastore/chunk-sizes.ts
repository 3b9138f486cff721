import assert from 'node:assert/strict';
import type { Datastore } from './datastore.ts';
import { openIndexFile } from './index-file.ts';

/**
 * Encoded sizes of the chunks at the positions `entries` (ascending) of an index file; 0 = the chunk is missing. Positions beyond the
 * end of the index are left out of the result.
 */
export async function storedChunkSizes(store: Datastore, indexPath: string, entries: readonly number[]): Promise<number[]> {
  const sizes: number[] = [];
  if (entries.length === 0) return sizes;
  await using index = await openIndexFile(indexPath);
  let next = 0;
  let position = entries[0]!;
  assert.ok(position >= 0);
  if (position >= index.count) return sizes;
  for await (const batch of index.batches(position)) {
    for (; next < entries.length && entries[next]! < position + batch.length; next += 1) {
      sizes.push((await store.chunks.size(batch[entries[next]! - position]!.digest)) ?? 0);
    }
    position += batch.length;
    if (next === entries.length) break;
  }
  return sizes;
}
