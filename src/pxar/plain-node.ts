import type { EntryMetadata } from './entry-metadata.ts';
import { itemHeaderLength, writeItemHeader } from './item.ts';
import { statLength, writeStat } from './metadata-items.ts';

/** Length of a PAYLOAD_REF item. */
export const payloadReferenceLength = itemHeaderLength + 16;

/** Bytes of FILENAME and ENTRY item of a node with that name. */
export function nodeLength(name: Uint8Array): number {
  return itemHeaderLength + name.byteLength + 1 + itemHeaderLength + statLength;
}

/** Writes FILENAME and ENTRY item: all that a node has in common with others when it has no attributes (`isPlain`). Returns where they end. */
export function writeNode(into: Buffer, name: Uint8Array, metadata: EntryMetadata, at: number): number {
  const { byteLength: length } = name;
  writeItemHeader(into, 'filename', length + 1, at);
  into.set(name, at + itemHeaderLength);
  const entryAt = at + itemHeaderLength + length + 1;
  into[entryAt - 1] = 0;
  writeItemHeader(into, 'entry', statLength, entryAt);
  writeStat(into, metadata, entryAt + itemHeaderLength);
  return entryAt + itemHeaderLength + statLength;
}
