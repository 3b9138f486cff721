import { errorCode, FormatError, StoreError, toError } from '../base/errors.ts';
import { blobKind, checkBlobCrc, isEncryptedKind, maxChunkEncodedSize } from '../format/data-blob.ts';

/** What is stored under a digest already. */
export interface ExistingChunk {
  /** For messages. */
  name: string;
  /** Bytes of the stored file. */
  size: number;
  /** Its first bytes, enough for its kind. */
  head(): Promise<Uint8Array>;
  whole(): Promise<Uint8Array>;
}

/** `keep` what is stored, or replace it because it is `damaged`, or because the new one is `better`. */
export type Precedence = { verdict: 'keep' | 'better' } | { verdict: 'damaged'; why: string };

/**
 * Which of two encoded chunks of one digest stays (spec formats 3.3). Beyond the reference: an existing one that is no blob at all, or of another
 * size and with a wrong CRC, is damaged and gives way; otherwise a chunk cut short by a crash would be kept for ever.
 * StoreError `store.chunk-mode` when the two cannot belong to one digest.
 */
export async function chunkPrecedence(existing: ExistingChunk, blob: Uint8Array): Promise<Precedence> {
  if (existing.size === 0) return { verdict: 'damaged', why: 'is empty' };
  if (existing.size > maxChunkEncodedSize) return { verdict: 'damaged', why: `has ${existing.size} bytes, more than any chunk` };
  const sameSize = existing.size === blob.byteLength;
  let existingKind;
  try {
    // Of equal size only the head is read: that tells files which a crash left full of zeros, at little cost.
    existingKind = sameSize ? blobKind(await existing.head()) : checkBlobCrc(await existing.whole());
  } catch (e) {
    if (errorCode(e) === 'store.missing') return { verdict: 'better' };
    if (e instanceof FormatError) return { verdict: 'damaged', why: `is damaged (${toError(e).message})` };
    throw e;
  }
  if (sameSize) return { verdict: 'keep' };
  const kind = blobKind(blob);
  if (isEncryptedKind(kind) !== isEncryptedKind(existingKind)) {
    throw new StoreError('store.chunk-mode', `chunk '${existing.name}': refusing to mix an encrypted and a plain chunk under one digest`);
  }
  if (kind === 'encrypted' && existingKind === 'encrypted') {
    throw new StoreError('store.chunk-mode', `chunk '${existing.name}': encrypted content of this digest has ${existing.size} bytes, the new one ${blob.byteLength}`);
  }
  return { verdict: isEncryptedKind(kind) || existing.size < blob.byteLength ? 'keep' : 'better' };
}

/** Limits of what may be stored as a chunk. FormatError `format.*`. */
export function checkChunkBlob(blob: Uint8Array): void {
  if (blob.byteLength > maxChunkEncodedSize) throw new FormatError('format.chunk-size', `chunk of ${blob.byteLength} bytes, more than ${maxChunkEncodedSize}`);
  blobKind(blob);
}
