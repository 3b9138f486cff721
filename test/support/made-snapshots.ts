import { createCipheriv, createHash } from 'node:crypto';
import { toHex } from '../../src/base/bytes.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { createLockedGroup } from '../../src/datastore/groups.ts';
import { createNamespace, namespaceExists } from '../../src/datastore/namespaces.ts';
import { archiveKind, namespaceComponents, type BackupSnapshot } from '../../src/format/backup-path.ts';
import { ChunkIndex, encodeDynamicIndex, encodeFixedIndex } from '../../src/format/chunk-index.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import type { Manifest, ManifestFile } from '../../src/format/manifest.ts';

export const madeChunkSize = 64 * 1024;
/** 2025-10-09T08:00:00Z. */
export const firstTime = 1_760_000_400;

/** Bytes that do not compress and are the same for the same seed. */
export function noise(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(length));
}

/** `count` different chunks of 64 KiB. */
export function noiseChunks(seed: string, count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => noise(`${seed}-${i}`, madeChunkSize));
}

export interface MadeSnapshot {
  /** Archive name (`.fidx`: all chunks equally long but the last; `.didx`) to its chunks; `.blob` to one piece of content. */
  files: Record<string, readonly Buffer[]>;
  owner?: string;
  compress?: boolean;
  unprotected?: Record<string, unknown>;
}

/** Writes a snapshot, its chunks, group and namespaces, as a backup would. */
export async function makeSnapshot(store: Datastore, namespace: string, snapshot: BackupSnapshot, made: MadeSnapshot): Promise<Manifest> {
  await makeNamespaces(store, namespace);
  await using group = await createLockedGroup(store, namespace, snapshot, made.owner ?? 'admin@pbs');
  await using writer = await group.openSnapshot(snapshot.time);
  const files: ManifestFile[] = [];
  for (const [filename, pieces] of Object.entries(made.files)) {
    const compress = made.compress === true;
    if (archiveKind(filename) === 'blob') {
      const blob = encodeBlob(Buffer.concat(pieces), { compress });
      await writer.stage(filename, blob, blob.length);
      files.push({ filename, cryptMode: 'none', size: blob.length, csum: createHash('sha256').update(blob).digest('hex') });
    } else {
      for (const chunk of pieces) await store.chunks.insert(digestOf(chunk), encodeBlob(chunk, { compress }));
      const { bytes, size, csum } = madeIndex(filename, pieces, snapshot.time);
      await writer.stage(filename, bytes, bytes.length);
      files.push({ filename, cryptMode: 'none', size, csum });
    }
    await writer.commit(filename);
  }
  const manifest: Manifest = { backupType: snapshot.type, backupId: snapshot.id, backupTime: snapshot.time, files, signature: null, unprotected: made.unprotected ?? {} };
  await writer.publish(manifest, Object.keys(made.files));
  return manifest;
}

/** The index file over `chunks`, and what its manifest says of it. `digests`: those of the chunks where they are not plain. */
export function madeIndex(filename: string, chunks: readonly Buffer[], ctime: number, digests?: readonly Buffer[]): { bytes: Buffer; size: number; csum: string } {
  const kind = archiveKind(filename) === 'fixed' ? 'fixed' : 'dynamic';
  const uuid = createHash('md5').update(filename).digest();
  let size = 0;
  const entries = chunks.map((chunk, i) => ({ end: (size += chunk.length), digest: digests?.[i] ?? digestOf(chunk) }));
  const bytes = kind === 'fixed' ? encodeFixedIndex({ uuid, ctime, size, chunkSize: chunks[0]!.length, digests: entries.map(({ digest }) => digest) }) : encodeDynamicIndex({ uuid, ctime, entries });
  return { bytes, size, csum: toHex(ChunkIndex.parse(kind, bytes).computeCsum()) };
}

export function digestOf(plain: Uint8Array): Buffer {
  return createHash('sha256').update(plain).digest();
}

async function makeNamespaces(store: Datastore, namespace: string): Promise<void> {
  const components = namespace === '' ? [] : namespaceComponents(namespace);
  for (let depth = 1; depth <= components.length; depth += 1) {
    const part = components.slice(0, depth).join('/');
    if (!(await namespaceExists(store, part))) await createNamespace(store, part);
  }
}
