import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { lstat, mkdir, readdir, utimes, writeFile, chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { chunkBackendSuite, makeChunk, type BackendUnderTest } from '../../test/support/chunk-backend-suite.ts';
import { faultyFileCalls } from '../../test/support/faulty-files.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { toHex } from '../base/bytes.ts';
import { checkAccessTimes } from './access-time-check.ts';
import { checkEmptyBase, checkReusableChunkStore } from './chunk-store-layout.ts';
import { fileOwner } from './file-owner.ts';
import { LocalChunkBackend, type LocalChunkOptions } from './local-chunk-backend.ts';
import { temporaryName } from './replace-file.ts';

/** A chunk store whose folders are made as they are needed: making all 65,536 takes seconds. */
async function smallStore(base: string, options: LocalChunkOptions = {}): Promise<LocalChunkBackend> {
  await mkdir(join(base, '.chunks'), { mode: 0o750 });
  await writeFile(join(base, '.lock'), '');
  return LocalChunkBackend.open(base, options);
}

async function chunkFiles(base: string): Promise<string[]> {
  const folders = await readdir(join(base, '.chunks'));
  return (await Promise.all(folders.map((folder) => readdir(join(base, '.chunks', folder))))).flat();
}

async function underTest(options: LocalChunkOptions = {}): Promise<BackendUnderTest & AsyncDisposable> {
  const folder = await temporaryFolder();
  const path = (name: string): string => join(folder.path, '.chunks', name.slice(0, 4), name);
  return {
    backend: await smallStore(folder.path, options),
    names: () => chunkFiles(folder.path),
    async plant(name, bytes) {
      await mkdir(dirname(path(name)), { recursive: true });
      await writeFile(path(name), bytes);
    },
    setUsed: (name, seconds) => utimes(path(name), seconds, seconds),
    used: async (name) => Math.floor((await lstat(path(name))).atimeMs / 1000),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

chunkBackendSuite('local', () => underTest());
chunkBackendSuite('local, synced', () => underTest({ syncLevel: 'file' }));

test('whichever file call fails, no half-written chunk appears and what was stored stays', async () => {
  for (const [errno, code] of [['ENOSPC', 'store.full'], ['EDQUOT', 'store.full'], ['EROFS', 'store.read-only'], ['EIO', 'store.io']] as const) {
    let passed = false;
    for (let at = 1; !passed; at += 1) {
      await using folder = await temporaryFolder();
      const faults = faultyFileCalls({ failAt: at, errno });
      const good = await smallStore(folder.path);
      const backend = await LocalChunkBackend.open(folder.path, { syncLevel: 'file', files: faults.calls });
      const large = makeChunk(20_000, { compressible: true });
      const small = { digest: large.digest, blob: makeChunk(10_000).blob };
      await good.insert(large.digest, large.blob);
      try {
        // Smaller, so that it replaces what is there.
        await backend.insert(small.digest, small.blob);
        passed = !faults.fired();
      } catch (e) {
        assert.equal((e as { code: string }).code, code);
      }
      const now = await good.read(large.digest);
      assert.ok(now.equals(large.blob) || now.equals(small.blob));
      assert.deepEqual(await chunkFiles(folder.path), [toHex(large.digest)]);
      assert.deepEqual(await good.insert(small.digest, small.blob), { duplicate: now.equals(small.blob), storedSize: small.blob.byteLength });
      assert.ok(at < 30);
    }
  }
});

test('leftovers of an interrupted write are invisible, and swept when they are old', async () => {
  await using folder = await temporaryFolder();
  const backend = await smallStore(folder.path);
  const { digest, blob } = makeChunk(100);
  await backend.insert(digest, blob);
  const path = backend.chunkPath(digest);
  writeFileSync(temporaryName(path), blob.subarray(0, 50));
  writeFileSync(`${path}.using`, '');
  writeFileSync(join(dirname(path), 'note'), '');
  assert.deepEqual(await backend.sweep(10, 10), { ...(await backend.sweep(10, 10)), diskChunks: 1, diskBytes: blob.byteLength, removedChunks: 0 });
  assert.equal(readdirSync(dirname(path)).length, 3);
  await backend.sweep(Math.floor(Date.now() / 1000) + 100, Math.floor(Date.now() / 1000) + 100);
  assert.deepEqual(readdirSync(dirname(path)), ['note']);
});

test('what is in the way of a chunk is an error, never removed', async () => {
  await using folder = await temporaryFolder();
  const backend = await smallStore(folder.path);
  const { digest, blob } = makeChunk(100);
  await mkdir(backend.chunkPath(digest), { recursive: true });
  await assert.rejects(backend.insert(digest, blob), { code: 'store.layout' });
  await assert.rejects(backend.replace(digest, blob), { code: 'store.layout' });
  assert.equal((await backend.sweep(2 ** 40, 2 ** 40)).removedChunks, 0);
  assert.ok(existsSync(backend.chunkPath(digest)));
});

test('a base without chunk store is not one: nothing is made in it', async () => {
  await using folder = await temporaryFolder();
  await assert.rejects(LocalChunkBackend.open(folder.path), { code: 'store.missing' });
  const backend = await smallStore(folder.path);
  rmSync(join(folder.path, '.chunks'), { recursive: true });
  const { digest, blob } = makeChunk(5);
  await assert.rejects(backend.insert(digest, blob), { code: 'store.missing' });
  assert.deepEqual(readdirSync(folder.path), ['.lock']);
  writeFileSync(join(folder.path, '.chunks'), '');
  await assert.rejects(LocalChunkBackend.open(folder.path), { code: 'store.layout' });
});

test('access times that do not follow a touch stop everything', async () => {
  await using folder = await temporaryFolder();
  const backend = await smallStore(folder.path);
  const warnings: string[] = [];
  const log = { debug: () => {}, info: () => {}, error: () => {}, warn: (line: string) => void warnings.push(line) };
  // A file system that ignores the explicit change, then one where somebody replaces the chunk each time.
  const deaf = { insert: backend.insert.bind(backend), touch: () => Promise.resolve(true) };
  await assert.rejects(checkAccessTimes(deaf, (digest) => backend.chunkPath(digest), { log }), {
    code: 'store.access-time',
    message: 'access time safety check using newly inserted chunk failed, aborting GC!',
  });
  assert.equal(warnings.length, 1);
  let blob: Buffer | undefined;
  const restless = {
    insert: backend.insert.bind(backend),
    async touch(digest: Uint8Array) {
      blob ??= await backend.read(digest);
      await backend.replace(digest, blob);
      return true;
    },
  };
  await assert.rejects(checkAccessTimes(restless, (digest) => backend.chunkPath(digest), {}), { code: 'store.access-time', message: /changed twice/ });
});

test('a new store has every folder with its mode and owner and can be taken over; a changed one cannot', async () => {
  await using folder = await temporaryFolder();
  const base = join(folder.path, 'deep', 'store');
  const umask = process.umask(0o077);
  let backend: LocalChunkBackend;
  try {
    backend = await LocalChunkBackend.create(base);
  } finally {
    process.umask(umask);
  }
  const uid = fileOwner()?.uid ?? process.getuid!();
  for (const [name, mode] of [['.chunks', 0o750], ['.chunks/0000', 0o750], ['.chunks/ffff', 0o750], ['.lock', 0o644]] as const) {
    const found = statSync(join(base, name));
    assert.equal(found.mode & 0o7777, mode);
    assert.equal(found.uid, uid);
  }
  assert.equal(readdirSync(join(base, '.chunks')).length, 65_536);
  await chmod(base, 0o755);
  await checkReusableChunkStore(base);
  await assert.rejects(LocalChunkBackend.create(base), { code: 'store.exists' });
  const { digest, blob } = makeChunk(100);
  await backend.insert(digest, blob);
  assert.equal(statSync(backend.chunkPath(digest)).mode & 0o7777, 0o644);
  assert.equal(statSync(backend.chunkPath(digest)).uid, uid);
  await chmod(join(base, '.chunks', 'abcd'), 0o755);
  await assert.rejects(checkReusableChunkStore(base), { code: 'store.layout', message: /abcd' has mode 755, not 750/ });
  rmSync(join(base, '.chunks', 'abcd'), { recursive: true });
  await assert.rejects(checkReusableChunkStore(base), { code: 'store.missing' });
});

test('an empty base may hold dot names and lost+found', async () => {
  await using folder = await temporaryFolder();
  await checkEmptyBase(join(folder.path, 'none'));
  await mkdir(join(folder.path, 'lost+found'));
  writeFileSync(join(folder.path, '.hidden'), '');
  await checkEmptyBase(folder.path);
  writeFileSync(join(folder.path, 'x'), '');
  await assert.rejects(checkEmptyBase(folder.path), { code: 'store.not-empty' });
});
