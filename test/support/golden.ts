import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { zstdDecompressSync } from 'node:zlib';
import { tarFiles, type TarFile } from '../../src/cli/demo/tar-reader.ts';
import { toHex } from '../../src/base/bytes.ts';
import { CryptConfig } from '../../src/crypto/crypt-config.ts';
import { loadKey, parseKeyFile } from '../../src/crypto/key-file.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeBlob } from '../../src/format/data-blob.ts';

const fixtures = join(dirname(dirname(fileURLToPath(import.meta.url))), 'fixtures');

/** Path of a file below test/fixtures. */
export function fixturePath(name: string): string {
  return join(fixtures, name);
}

/** Bytes of a file below test/fixtures. */
export function readFixture(name: string): Buffer {
  return readFileSync(fixturePath(name));
}

/** Passphrase of the golden key files and of the golden master key. */
export const goldenPassphrase = 'key-password-1';

let files: TarFile[] | undefined;

/** All files of the golden datastore, by path relative to it, e.g. `host/plain/owner`; unpacked once per process. */
export function goldenFiles(): readonly TarFile[] {
  files ??= [...tarFiles(zstdDecompressSync(readFixture('datastore/main.tar.zst')))];
  return files;
}

/** Content of one file of the golden datastore. */
export function goldenFile(name: string): Buffer {
  const found = goldenFiles().find((file) => file.name === name);
  if (found === undefined) throw new Error(`the golden datastore has no file ${name}`);
  return found.content;
}

function makeChunkFolders(into: string): void {
  for (let i = 0; i < 65_536; i += 1) mkdirSync(join(into, '.chunks', i.toString(16).padStart(4, '0')), { mode: 0o750 });
}

/** The chunk file with this digest (64 hex digits). */
export function goldenChunk(hex: string): Buffer {
  return goldenFile(`.chunks/${hex.slice(0, 4)}/${hex}`);
}

const keys = new Map<string, Promise<CryptConfig>>();

/** The key in a golden key file, e.g. `kdf-scrypt`; derived once per process. */
export function goldenKey(name: string): Promise<CryptConfig> {
  const known = keys.get(name) ?? loadKey(parseKeyFile(readFixture(`keys/${name}.key`)), () => goldenPassphrase).then((key) => new CryptConfig(key));
  keys.set(name, known);
  return known;
}

/** Plain content of a whole index archive of the golden datastore, e.g. `host/plain/2025-10-10T08:53:20Z/root.pxar.didx`. */
export function goldenArchive(name: string, crypt?: CryptConfig): Buffer {
  const index = ChunkIndex.parse(name.endsWith('.fidx') ? 'fixed' : 'dynamic', goldenFile(name));
  return Buffer.concat([...index.entries()].map(({ digest }) => decodeBlob(goldenChunk(toHex(digest)), { crypt, digest })));
}

/**
 * Writes the golden datastore into the existing folder `into`, times and modes as recorded. Only the chunk folders that hold
 * a chunk are made, unless `chunkFolders` is `all`: a real datastore has all 65,536 (spec formats 3.1), which takes seconds to make.
 */
export async function unpackGoldenDatastore(into: string, options: { chunkFolders?: 'all' | 'used' } = {}): Promise<void> {
  await mkdir(join(into, '.chunks'), { mode: 0o750 });
  if (options.chunkFolders === 'all') makeChunkFolders(into);
  for (const file of goldenFiles()) {
    const path = join(into, file.name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file.content);
    await chmod(path, file.mode);
    await utimes(path, file.mtime, file.mtime);
  }
}

let shared: Promise<string> | undefined;

/**
 * Folder of the golden datastore, unpacked once per test process and removed at its end. For reading only: a test that changes it
 * unpacks its own with `unpackGoldenDatastore`.
 */
export function goldenDatastore(): Promise<string> {
  shared ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'farshore-golden-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    await unpackGoldenDatastore(folder);
    return folder;
  })();
  return shared;
}

/** A temp folder that is removed when the scope ends: `await using folder = await temporaryFolder();`. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'farshore-test-'));
  return {
    path,
    [Symbol.asyncDispose]: () => {
      rmSync(path, { recursive: true, force: true });
      return Promise.resolve();
    },
  };
}
