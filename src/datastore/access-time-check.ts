import { lstat } from 'node:fs/promises';
import { pause } from '../base/async.ts';
import { parseDigest, type Digest } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { encodeBlob } from '../format/data-blob.ts';
import type { ChunkBackend } from './chunk-backend.ts';
import { toStoreError } from './store-error.ts';

/** SHA-256 of 4 MiB zeros: the chunk that every datastore holds (spec formats 8.1). */
export const zeroChunkDigest: Digest = parseDigest('bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8')!;
const zeroChunkSize = 4 * 1024 * 1024;
/** Longer than the coarsest timestamps that file systems in use here keep. */
const waitMs = 1000;

let zeroChunk: Buffer | undefined;

/** The encoded zero chunk: plain, compressed. */
export function zeroChunkBlob(): Buffer {
  zeroChunk ??= encodeBlob(Buffer.alloc(zeroChunkSize), { compress: true });
  return zeroChunk;
}

/** The check of spec retention 5.1 on a chunk's file: returns the new access time in seconds. StoreError `store.access-time`. */
export async function checkAccessTimes(
  chunks: Pick<ChunkBackend, 'insert' | 'touch'>,
  chunkPath: (digest: Digest) => string,
  options: { log?: ProgressLog; signal?: AbortSignal },
): Promise<number> {
  const log = options.log ?? silentLog;
  const path = chunkPath(zeroChunkDigest);
  const look = async (): Promise<{ atimeNs: bigint; mtimeNs: bigint; ino: bigint }> => {
    try {
      return await lstat(path, { bigint: true });
    } catch (e) {
      throw toStoreError(e, `unable to look at chunk '${path}'`);
    }
  };
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const { duplicate } = await chunks.insert(zeroChunkDigest, zeroChunkBlob());
    await pause(waitMs, options.signal);
    const before = await look();
    await chunks.touch(zeroChunkDigest);
    const after = await look();
    if (before.ino !== after.ino) continue;
    if (after.atimeNs > before.atimeNs) return Number(after.atimeNs / 1_000_000_000n);
    const times = (of: typeof before): string => `access ${of.atimeNs} ns, modify ${of.mtimeNs} ns since the epoch`;
    log.warn('Chunk metadata was not correctly updated during access time safety check:');
    log.info(`Timestamps before update: ${times(before)}`);
    log.info(`Timestamps after update: ${times(after)}`);
    throw new StoreError('store.access-time', `access time safety check using ${duplicate ? 'pre-existing' : 'newly inserted'} chunk failed, aborting GC!`, {
      hint: 'The file system ignores explicit changes of access times; move the datastore to one that keeps them.',
    });
  }
  throw new StoreError('store.access-time', `chunk "${path}" changed twice during access time safety check, cannot proceed.`);
}
