import { bytesEqual } from '../../base/bytes.ts';
import type { ChunkIndex } from '../../format/chunk-index.ts';
import type { ReadAt } from '../../pxar/payload-source.ts';

/** An image of a snapshot. */
export interface DiffImage {
  index: ChunkIndex;
  readAt: ReadAt;
}

/** Bytes that differ: in both images, or behind the end of the shorter one. */
export interface DifferingRange {
  offset: number;
  length: number;
}

const blockLength = 4096;

/** Pieces of both images with the same bounds: where the chunk of either ends. */
function* pieces(a: ChunkIndex, b: ChunkIndex): Generator<{ start: number; end: number; isSame: boolean }, void, undefined> {
  const common = Math.min(a.size, b.size);
  for (let start = 0; start < common; ) {
    const [one, other] = [a.entry(a.find(start)), b.entry(b.find(start))];
    const end = Math.min(one.end, other.end, common);
    const isAligned = one.start === other.start && one.end === other.end;
    yield { start, end, isSame: isAligned && bytesEqual(one.digest, other.digest) };
    start = end;
  }
}

async function* differingBlocks(a: DiffImage, b: DiffImage, start: number, end: number): AsyncGenerator<DifferingRange, void, undefined> {
  const [one, other] = await Promise.all([a.readAt(start, end - start), b.readAt(start, end - start)]);
  for (let at = 0; at < end - start; at += blockLength) {
    const stop = Math.min(at + blockLength, end - start);
    if (!bytesEqual(one.subarray(at, stop), other.subarray(at, stop))) yield { offset: start + at, length: stop - at };
  }
}

/**
 * Where two images differ, ranges that touch joined, in order: by the digests of chunks, with `compareContent` by blocks of 4 KiB of those that differ. `isComparable` false: digests say
 * nothing, every chunk counts as differing. Throws what reading throws.
 */
export async function* diffImages(a: DiffImage, b: DiffImage, options: { compareContent: boolean; isComparable: boolean }): AsyncGenerator<DifferingRange, void, undefined> {
  let open: DifferingRange | null = null;
  const found = async function* (): AsyncGenerator<DifferingRange, void, undefined> {
    for (const { start, end, isSame } of pieces(a.index, b.index)) {
      if (isSame && options.isComparable) continue;
      if (options.compareContent) yield* differingBlocks(a, b, start, end);
      else yield { offset: start, length: end - start };
    }
    const [shorter, longer] = [Math.min(a.index.size, b.index.size), Math.max(a.index.size, b.index.size)];
    if (shorter < longer) yield { offset: shorter, length: longer - shorter };
  };
  for await (const range of found()) {
    if (open !== null && open.offset + open.length === range.offset) {
      open.length += range.length;
      continue;
    }
    if (open !== null) yield open;
    open = { ...range };
  }
  if (open !== null) yield open;
}
