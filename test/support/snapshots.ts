import { toHex } from '../../src/base/bytes.ts';
import type { CryptConfig } from '../../src/crypto/crypt-config.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { goldenFiles, goldenKey } from './golden.ts';

export interface GoldenSnapshot {
  /** Folder relative to the datastore. */
  path: string;
  manifest: Manifest;
  /** Key that it is encrypted or signed with. */
  crypt: CryptConfig | undefined;
}

/** Every snapshot of the golden datastore with its key. */
export async function goldenSnapshots(): Promise<GoldenSnapshot[]> {
  const keys = new Map([
    ['host/crypt', await goldenKey('kdf-scrypt')],
    ['host/signed', await goldenKey('kdf-none')],
  ]);
  return goldenFiles()
    .filter((file) => file.name.endsWith('/index.json.blob'))
    .map((file) => {
      const path = file.name.slice(0, -'/index.json.blob'.length);
      return { path, manifest: decodeManifestBlob(file.content), crypt: keys.get(path.split('/').slice(0, 2).join('/')) };
    });
}

/** Index files of the golden datastore. */
export function goldenIndexes(): Array<{ name: string; bytes: Buffer; index: ChunkIndex }> {
  return goldenFiles()
    .filter((file) => /\.[fd]idx$/.test(file.name))
    .map(({ name, content }) => ({ name, bytes: content, index: ChunkIndex.parse(name.endsWith('.fidx') ? 'fixed' : 'dynamic', content) }));
}

export interface GoldenChunkUse {
  hex: string;
  size: number;
  /** Key of the encrypted snapshots, which is the one that any encrypted chunk has. */
  crypt: CryptConfig | undefined;
}

/** Every chunk of the golden datastore once, with its plain size. */
export async function goldenChunks(): Promise<GoldenChunkUse[]> {
  const crypt = await goldenKey('kdf-scrypt');
  const uses = new Map<string, GoldenChunkUse>();
  for (const { name, index } of goldenIndexes()) {
    for (const { digest, start, end } of index.entries()) {
      const hex = toHex(digest);
      uses.set(hex, { hex, size: end - start, crypt: name.startsWith('host/crypt/') ? crypt : undefined });
    }
  }
  return [...uses.values()];
}
