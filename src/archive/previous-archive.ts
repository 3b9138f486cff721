import type { Digest } from '../base/bytes.ts';
import { sameMetadata } from '../pxar/entry-metadata.ts';
import type { ArchiveAccessor, ArchiveDirectory } from '../pxar/archive-accessor.ts';
import { itemHeaderLength } from '../pxar/item.ts';
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
