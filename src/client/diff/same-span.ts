import { bytesEqual } from '../../base/bytes.ts';
import type { ChunkIndex } from '../../format/chunk-index.ts';

/** Bytes of an archive, by its index. */
export interface Span {
  index: ChunkIndex;
  start: number;
}

/**
 * Whether `length` bytes at both places are the same by the digests of their chunks: the same chunks, entered at the same byte. True is certain; false says nothing, as
 * the same bytes may lie in other chunks. Digests of both must be made with the same key.
 */
export function isSameSpan(a: Span, b: Span, length: number): boolean {
  if (length === 0) return true;
  if (a.start + length > a.index.size || b.start + length > b.index.size) return false;
  let [i, j] = [a.index.find(a.start), b.index.find(b.start)];
  if (a.start - a.index.entry(i).start !== b.start - b.index.entry(j).start) return false;
  for (;;) {
    const [one, other] = [a.index.entry(i), b.index.entry(j)];
    if (!bytesEqual(one.digest, other.digest)) return false;
    if (one.end >= a.start + length) return true;
    i += 1;
    j += 1;
    if (i >= a.index.count || j >= b.index.count) return false;
  }
}
