import type { Digest } from '../base/bytes.ts';
import { sameMetadata } from '../pxar/entry-metadata.ts';
import type { ArchiveAccessor, ArchiveDirectory } from '../pxar/archive-accessor.ts';
import { itemHeaderLength, maxNameLength, writeItemHeader } from '../pxar/item.ts';
import { isPlain, statLength } from '../pxar/metadata-items.ts';
import { payloadReferenceLength, writeNode } from '../pxar/plain-node.ts';
import type { SourceNode } from './source-node.ts';

/** The index of a payload archive, as ChunkIndex has it. */
export interface PayloadIndex {
  readonly count: number;
  /** Bytes of the whole archive. */
  readonly size: number;
  entry(i: number): { digest: Digest; start: number; end: number };
  /** Number of the entry that holds the byte at `offset`, which is below `size`. */
  find(offset: number): number;
}

/** What unchanged files are looked for in: the metadata archive, and the index of the payload archive beside it (spec pxar 9). */
export interface PreviousArchive {
  accessor: ArchiveAccessor;
  payloadIndex: PayloadIndex;
}

/** Bytes of the previous payload archive; the end is not part of it. */
export interface PayloadRange {
  start: number;
  end: number;
}

/**
 * Where the content of `node` lies in the previous payload archive, item header included; null when the file is not there or may have
 * changed (spec pxar 9.1).
 */
export async function unchangedRange(node: SourceNode, directory: ArchiveDirectory | null, payloadSize: number): Promise<PayloadRange | null> {
  const found = await directory?.lookup(node.name);
  if (found?.entry.type !== 'file' || found.entry.payload === null) return null;
  const { metadata, size, payload } = found.entry;
  if (size !== node.size || !sameMetadata(metadata, node.metadata)) return null;
  const end = payload + itemHeaderLength + size;
  return end > payloadSize ? null : { start: payload, end };
}

/** Items of the file that is looked for. */
const items = Buffer.alloc(itemHeaderLength + maxNameLength + 1 + itemHeaderLength + statLength + itemHeaderLength);

/**
 * As `unchangedRange` without waiting, for files without attributes: they are compared as they are encoded. Null where that does not tell, or the
 * previous archive is not in memory there.
 */
export function unchangedRangeAtHand(node: SourceNode, directory: ArchiveDirectory | null, payloadSize: number): PayloadRange | null {
  if (directory === null || !isPlain(node.metadata) || node.name.length > maxNameLength) return null;
  const end = writeNode(items, node.name, node.metadata, 0);
  writeItemHeader(items, 'payloadReference', payloadReferenceLength - itemHeaderLength, end);
  const start = directory.payloadOfSame(node.name, items.subarray(0, end + itemHeaderLength), node.size);
  if (start === null) return null;
  const range = { start, end: start + itemHeaderLength + node.size };
  return range.end > payloadSize ? null : range;
}
