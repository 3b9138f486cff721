import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { makeChunk, type Chunk } from '../../test/support/chunk-backend-suite.ts';
import { faultyChunkBackend } from '../../test/support/faulty-chunk-backend.ts';
import { readFixture, temporaryFolder, unpackGoldenDatastore } from '../../test/support/golden.ts';
import { bytesEqual, toHex, type Digest } from '../base/bytes.ts';
import { AbortedError } from '../base/errors.ts';
import { armFailpoint, disarmFailpoints } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { verifyChunk } from '../format/data-blob.ts';
import { collectGarbage, type CollectableStore, type GarbageCollectionOptions, type GarbageCollectionProgress } from './garbage-collection.ts';
import { findIndexFiles } from './gc-mark.ts';
import { readGcStatus } from './gc-status.ts';
import { openIndexFile } from './index-file.ts';
import { DynamicIndexWriter } from './index-writer.ts';
import { LocalChunkBackend } from './local-chunk-backend.ts';
import { LockFile } from './lock-file.ts';
import { ProcessLock } from './process-lock.ts';

const hour = 3600;
const day = 24 * hour;
const now = (): number => Math.floor(Date.now() / 1000);

/** A copy of the golden datastore, its log, and a store to collect on. */
class Scene implements AsyncDisposable {
  readonly base: string;
  readonly lines: string[] = [];
  readonly store: CollectableStore;
  readonly backend: LocalChunkBackend;
  readonly log: ProgressLog;
  /** Called before each index is opened for marking, by way of the log. */
  onLine: (line: string) => void = () => {};
  readonly #dispose: () => Promise<void>;

  private constructor(base: string, backend: LocalChunkBackend, tuning: Partial<CollectableStore['tuning']>, dispose: () => Promise<void>) {
    this.base = base;
    this.backend = backend;
    this.#dispose = dispose;
    this.log = {
      debug: () => {},
      info: (line) => this.#line(line),
      warn: (line) => this.#line(`(W) ${line}`),
      error: (line) => this.#line(`(E) ${line}`),
    };
    this.store = {
      name: 'main',
      path: base,
      chunks: backend,
      processLock: ProcessLock.open(join(base, '.lock')),
      locks: { group: (namespace, group) => LockFile.acquire(join(base, '..', 'locks', `${namespace}:${group.type}:${group.id}`), { mode: 'exclusive' }) },
      tuning: { gcAtimeSafetyCheck: false, gcAtimeCutoff: undefined, gcCacheCapacity: 1024 * 1024, ...tuning },
    };
  }

  static async make(tuning: Partial<CollectableStore['tuning']> = {}): Promise<Scene> {
    const folder = await temporaryFolder();
    const base = join(folder.path, 'main');
    mkdirSync(base);
    await unpackGoldenDatastore(base);
    return new Scene(base, await LocalChunkBackend.open(base), tuning, async () => folder[Symbol.asyncDispose]());
  }

  #line(line: string): void {
    this.lines.push(line);
    this.onLine(line);
  }

  collect(options: Partial<GarbageCollectionOptions> = {}) {
    return collectGarbage(this.store, { upid: null, log: this.log, ...options });
  }

  async addChunk(age: number): Promise<Chunk> {
    const chunk = makeChunk(1000 + Math.floor(Math.random() * 1000));
    await this.backend.insert(chunk.digest, chunk.blob);
    this.age(chunk.digest, age);
    return chunk;
  }

  age(digest: Digest, seconds: number): void {
    utimesSync(this.backend.chunkPath(digest), now() - seconds, 1);
  }

  async has(chunk: Chunk): Promise<boolean> {
    return (await this.backend.size(chunk.digest)) !== null;
  }

  warnings(): string[] {
    return this.lines.filter((line) => line.startsWith('(W)'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    disarmFailpoints();
    this.store.processLock.close();
    await this.#dispose();
  }
}

/** Every chunk of every index is there, with its content. Encrypted ones by their CRC. Returns their number. */
async function checkWhole(base: string, backend: LocalChunkBackend): Promise<number> {
  const checked = new Set<string>();
  const quiet: ProgressLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  for (const path of await findIndexFiles(base, { log: quiet })) {
    await using index = await openIndexFile(path);
    assert.deepEqual(await index.computeCsum(), index.header.csum);
    for await (const { digest, start, end } of index.entries()) {
      if (checked.has(toHex(digest))) continue;
      checked.add(toHex(digest));
      await verifyChunk(await backend.read(digest), digest, end - start);
    }
  }
  return checked.size;
}

test('a run over the golden datastore writes the log and the status of the reference', async () => {
  await using scene = await Scene.make({ gcAtimeSafetyCheck: true });
  const progress: GarbageCollectionProgress[] = [];
  const upid = 'UPID:third:00007002:000BE896:00000014:6B04EF43:garbage_collection:main:root@pam:';
  const before = readFileSync(join(scene.base, '.gc-status'), 'utf8');
  rmSync(join(scene.base, '.gc-status'));
  await scene.collect({ upid, onProgress: (step) => progress.push(step) });
  // All lines but those of the task and the moment.
  const recorded = readFixture('tasks/gc-main.txt').toString('utf8').trimEnd().split('\n').slice(0, -2);
  const timeless = (lines: string[]): string[] => lines.map((line) => line.replace(/minimum access time is \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'minimum access time'));
  assert.deepEqual(timeless(scene.lines), timeless(recorded));
  assert.equal(readFileSync(join(scene.base, '.gc-status'), 'utf8'), before);
  assert.equal(await checkWhole(scene.base, scene.backend), 37);
  assert.equal(progress.filter((step) => step.phase === 'mark').length, 24);
  assert.deepEqual(progress.find((step) => step.percent === 100), { phase: 'mark', percent: 100, secondsLeft: 0 });
});

test('only what no index names and nobody used for longer than the cutoff is removed; the figures add up', async () => {
  await using scene = await Scene.make();
  const old = [await scene.addChunk(86_700 + 5), await scene.addChunk(30 * day)];
  const young = [await scene.addChunk(86_700 - 60), await scene.addChunk(10)];
  const bad = makeChunk(777);
  await scene.backend.insert(bad.digest, bad.blob);
  scene.age(bad.digest, 40 * day);
  await scene.backend.markCorrupt(bad.digest);
  const status = await scene.collect();
  const bytes = (chunks: Chunk[]): number => chunks.reduce((sum, chunk) => sum + chunk.blob.byteLength, 0);
  assert.deepEqual(
    [status.removedChunks, status.removedBytes, status.removedBad, status.pendingChunks, status.pendingBytes, status.stillBad],
    [2, bytes([...old, bad]), 1, 2, bytes(young), 0],
  );
  assert.deepEqual([status.diskChunks, status.diskBytes], [37, 26_183_437]);
  assert.deepEqual(await Promise.all([...old, ...young].map((chunk) => scene.has(chunk))), [false, false, true, true]);
  assert.ok(scene.lines.includes(`Pending removals: ${(bytes(young) / 1024).toFixed(3).replace(/\.?0+$/, '')} KiB (in 2 chunks)`));
  assert.ok(scene.lines.includes('Removed bad chunks: 1'));
  assert.equal(await checkWhole(scene.base, scene.backend), 37);
  assert.deepEqual(await readGcStatus(scene.base), status);
  const second = await scene.collect();
  assert.deepEqual([second.removedChunks, second.pendingChunks], [0, 2]);
});

test('a running writer protects what it used, however long it runs; later chunks without index stay pending', async () => {
  let clock = { now: () => Date.now() - 3 * day * 1000 };
  await using scene = await Scene.make({ gcAtimeCutoff: 1 });
  using own = ProcessLock.open(join(scene.base, '.lock'), { now: () => clock.now() });
  const early = await scene.addChunk(3 * day + 400);
  const gap = await scene.addChunk(3 * day + 200);
  const used = [await scene.addChunk(3 * day - 10), await scene.addChunk(hour), await scene.addChunk(120)];
  const writer = own.shared();
  clock = { now: () => Date.now() };
  const youngWriter = own.shared();
  const status = await scene.collect();
  assert.deepEqual([status.removedChunks, status.pendingChunks, status.diskChunks], [1, 1, 40]);
  assert.ok(scene.lines.some((line) => /^Oldest backup writer started at \S+Z, extending minimum access time to \S+Z$/.test(line)));
  assert.deepEqual(await Promise.all([early, gap, ...used].map((chunk) => scene.has(chunk))), [false, true, true, true, true]);
  writer.release();
  youngWriter.release();
  // With the writer gone the minute of the cutoff counts.
  const next = await scene.collect();
  assert.deepEqual([next.removedChunks, next.pendingChunks, next.diskChunks], [4, 0, 37]);
});

test('one run at a time, none while another process writes', async () => {
  await using scene = await Scene.make();
  const first = scene.collect();
  await assert.rejects(scene.collect(), { code: 'store.gc-running', message: 'Start GC failed - (already running/locked)' });
  await first;
  const module = new URL('./process-lock.ts', import.meta.url).href;
  const script = `import { ProcessLock } from '${module}'; globalThis.hold = ProcessLock.open(${JSON.stringify(join(scene.base, '.lock'))}).shared(); console.log('held'); setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => other.stdout.once('data', resolve));
  await assert.rejects(scene.collect(), { message: 'unable to get exclusive lock - EAGAIN: Try again' });
  const exit = new Promise((resolve) => other.once('exit', resolve));
  other.kill('SIGKILL');
  await exit;
  await scene.collect();
});

test('stores inside or around another one are refused', async () => {
  await using scene = await Scene.make();
  for (const path of [scene.base, dirname(scene.base), join(scene.base, 'x'), '/']) {
    await assert.rejects(scene.collect({ otherStores: [{ name: 'far', path: '/elsewhere' }, { name: 'other', path }] }), {
      message: `Aborting GC for safety reasons: nested datastores not allowed: 'other' already in "${path}"`,
    });
  }
  await scene.collect({ otherStores: [{ name: 'sibling', path: `${scene.base}2` }] });
});

async function strayIndex(scene: Scene, path: string): Promise<Chunk> {
  const chunk = await scene.addChunk(30 * day);
  mkdirSync(dirname(path), { recursive: true });
  const writer = await DynamicIndexWriter.create(path);
  await writer.addChunk(0, 1000, chunk.digest);
  await writer.close();
  return chunk;
}

test('indexes anywhere below the base keep their chunks, with a warning; hidden names do not count', async () => {
  await using scene = await Scene.make();
  const stray = [
    await strayIndex(scene, join(scene.base, 'old', 'deep', 'x.didx')),
    await strayIndex(scene, join(scene.base, 'vm', '100', 'no-time', 'y.didx')),
    await strayIndex(scene, join(scene.base, 'host', '-bad-', '2025-01-01T00:00:00Z', 'z.didx')),
  ];
  const elsewhere = join(scene.base, '..', 'elsewhere.didx');
  const linked = await strayIndex(scene, elsewhere);
  symlinkSync(elsewhere, join(scene.base, 'vm', 'linked.didx'));
  symlinkSync(join(scene.base, 'none'), join(scene.base, 'vm', 'dangling.didx'));
  const hidden = await strayIndex(scene, join(scene.base, '.trash', 'w.didx'));
  await scene.collect();
  for (const chunk of [...stray, linked]) assert.ok(await scene.has(chunk));
  assert.ok(!(await scene.has(hidden)));
  assert.equal(scene.warnings().filter((line) => line.includes('Marked chunks for unexpected index file at')).length, 4);
  assert.ok(scene.warnings().includes('(W) Found 4 index files outside of expected directory scheme'));
});

test('the move journal is drained: its indexes are marked, then it is emptied', async () => {
  await using scene = await Scene.make();
  const moved = join(scene.base, '.moved', 'x.didx');
  const chunk = await strayIndex(scene, moved);
  const journal = join(scene.base, '..', 'move-journal');
  writeFileSync(journal, `${join(scene.base, 'vanished.fidx')}\n${moved}\n`);
  writeFileSync(join(scene.base, 'bad.didx'), 'x');
  await assert.rejects(scene.collect({ moveJournal: journal }), /can't open dynamic index/);
  assert.notEqual(readFileSync(journal, 'utf8'), '');
  rmSync(join(scene.base, 'bad.didx'));
  await scene.collect({ moveJournal: journal });
  assert.ok(await scene.has(chunk));
  assert.equal(readFileSync(journal, 'utf8'), '');
});

test('what cannot be read stops the run before anything is removed', async () => {
  const index = 'host/plain/x.fidx';
  const damages: Array<[string, (base: string) => void, RegExp]> = [
    ['corrupt index', (base) => writeFileSync(join(base, index), randomBytes(5000)), /^marking used chunks failed: can't open fixed index '".*x\.fidx"': /],
    ['index cut short', (base) => writeFileSync(join(base, 'vm', 'y.didx'), Buffer.alloc(0)), /can't open dynamic index/],
    ['folder named like one', (base) => mkdirSync(join(base, 'z.didx')), /can't open dynamic index/],
    ['impossible namespace', (base) => mkdirSync(join(base, 'ns', '-a b')), /^marking used chunks failed: /],
    ['linked folder', (base) => symlinkSync('/', join(base, 'vm', '999')), /symbolic link to a folder/],
  ];
  for (const [what, damage, message] of damages) {
    await using scene = await Scene.make();
    const garbage = await scene.addChunk(30 * day);
    damage(scene.base);
    const before = readFileSync(join(scene.base, '.gc-status'), 'utf8');
    await assert.rejects(scene.collect(), (e) => e instanceof Error && message.test(e.message), what);
    assert.ok(await scene.has(garbage), what);
    assert.equal(readFileSync(join(scene.base, '.gc-status'), 'utf8'), before);
    assert.equal(scene.store.processLock.heldAlone, false);
  }
});

test('a missing chunk is a warning, its set-aside copy lives on', async () => {
  await using scene = await Scene.make();
  const path = join(scene.base, 'vm', '100', (await readdir(join(scene.base, 'vm', '100'))).filter((name) => name.endsWith('Z')).toSorted().at(-1)!, 'drive-scsi0.img.fidx');
  await using index = await openIndexFile(path);
  const { value } = await index.entries().next();
  const { digest } = value as { digest: Digest };
  scene.age(digest, 30 * day);
  const name = (await scene.backend.markCorrupt(digest))!;
  const status = await scene.collect();
  assert.equal(scene.warnings().length, 1);
  assert.match(scene.warnings()[0]!, new RegExp(`^\\(W\\) warning: unable to access non-existent chunk ${toHex(digest)}, required by "${scene.base}/vm/100/`));
  assert.deepEqual([status.removedBad, status.stillBad, status.diskChunks], [0, 0, 36]);
  const bad = join(dirname(scene.backend.chunkPath(digest)), name);
  assert.ok((await lstat(bad)).atimeMs > Date.now() - day * 1000);
});

test('without cache every reference is touched and no figures are shown; another capacity is named', async () => {
  await using scene = await Scene.make({ gcCacheCapacity: 0 });
  assert.equal((await scene.collect()).cacheStats, null);
  assert.ok(!scene.lines.some((line) => line.startsWith('Chunk cache')));
  assert.ok(scene.lines.includes('Using chunk digest cache capacity of 0.'));
  assert.ok(scene.lines.includes('Access time update check disabled by datastore tuning options.'));
});

test('a clock that is set back while chunks are marked stops the run', async () => {
  await using scene = await Scene.make();
  const garbage = await scene.addChunk(30 * day);
  let looks = 0;
  const clock = { now: () => Date.now() - ((looks += 1) > 5 ? 60_000 : 0) };
  await assert.rejects(scene.collect({ clock }), { code: 'store.gc-clock', message: /set back by (60|59) seconds/ });
  assert.ok(await scene.has(garbage));
  // A clock that was far ahead when the run began: everything would look old.
  await using checked = await Scene.make({ gcAtimeSafetyCheck: true });
  await assert.rejects(checked.collect({ clock: { now: () => Date.now() + 3 * day * 1000 } }), { code: 'store.gc-clock', message: /the clock of the file system says/ });
});

test('an aborted run stops between chunks and keeps the old status', async () => {
  await using scene = await Scene.make();
  const before = readFileSync(join(scene.base, '.gc-status'), 'utf8');
  for (const at of ['marked 50%', 'Start GC phase2', 'processed 41%']) {
    const stop = new AbortController();
    scene.onLine = (line) => {
      if (line.startsWith(at)) stop.abort();
    };
    await assert.rejects(scene.collect({ signal: stop.signal }), AbortedError, at);
    assert.equal(readFileSync(join(scene.base, '.gc-status'), 'utf8'), before);
  }
  scene.onLine = () => {};
  await scene.collect();
  assert.equal(await checkWhole(scene.base, scene.backend), 37);
});

test('the newest snapshot pruned while its group is walked: the group is walked again, so that reused chunks stay', async () => {
  await using scene = await Scene.make();
  const group = join(scene.base, 'host', 'racing');
  const newest = join(group, '2025-01-02T00:00:00Z');
  const chunkOf = new Map<string, Chunk>();
  for (const name of ['a.didx', 'b.didx']) chunkOf.set(name, await strayIndex(scene, join(newest, name)));
  mkdirSync(join(group, '2025-01-01T00:00:00Z'));
  let moved: string | undefined;
  // While one index of the newest snapshot is being marked (whichever comes first), that snapshot goes and a newer one has the other.
  const chunks = new Proxy(scene.backend, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (name !== 'touch') return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      return async (digest: Digest) => {
        const ours = [...chunkOf].some(([, chunk]) => bytesEqual(chunk.digest, digest));
        if (moved === undefined && ours) {
          moved = [...chunkOf].find(([, chunk]) => !bytesEqual(chunk.digest, digest))![0];
          mkdirSync(join(group, '2025-01-03T00:00:00Z'));
          renameSync(join(newest, moved), join(group, '2025-01-03T00:00:00Z', moved));
          rmSync(newest, { recursive: true });
        }
        return target.touch(digest);
      };
    },
  });
  await collectGarbage({ ...scene.store, chunks }, { upid: null, log: scene.log });
  assert.ok(moved !== undefined);
  assert.ok(await scene.has(chunkOf.get(moved)!));
  assert.ok(scene.lines.some((line) => line.startsWith(`Encountered new index file '"${group}/2025-01-03T00:00:00Z/${moved}"'`)));
});

test('killed at any point, the store is whole and the next run finishes the work', async () => {
  await using scene = await Scene.make();
  const script = `
    import { armFailpointsFromText } from '${new URL('../base/failpoint.ts', import.meta.url).href}';
    import { silentLog } from '${new URL('../base/log.ts', import.meta.url).href}';
    import { collectGarbage } from '${new URL('./garbage-collection.ts', import.meta.url).href}';
    import { LocalChunkBackend } from '${new URL('./local-chunk-backend.ts', import.meta.url).href}';
    import { ProcessLock } from '${new URL('./process-lock.ts', import.meta.url).href}';
    const [base, failpoints] = process.argv.slice(1);
    armFailpointsFromText(failpoints);
    await collectGarbage({
      name: 'main', path: base, chunks: await LocalChunkBackend.open(base), processLock: ProcessLock.open(base + '/.lock'),
      locks: { group: () => { throw new Error('not needed'); } },
      tuning: { gcAtimeSafetyCheck: false, gcAtimeCutoff: undefined, gcCacheCapacity: 1000 },
    }, { upid: null, log: silentLog });`;
  const before = readFileSync(join(scene.base, '.gc-status'), 'utf8');
  for (const point of ['gc.index=kill@1', 'gc.index=kill@13', 'gc.marked=kill', 'sweep.unlink=kill@1', 'sweep.unlink=kill@3', 'gc.swept=kill', 'replace-file.created=kill', 'replace-file.written=kill', 'replace-file.closed=kill']) {
    const garbage: Chunk[] = [];
    for (let i = 0; i < 4; i += 1) garbage.push(await scene.addChunk(30 * day));
    const { signal } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, scene.base, point], { stdio: 'inherit' });
    assert.equal(signal, 'SIGKILL', point);
    assert.equal(await checkWhole(scene.base, scene.backend), 37, point);
    assert.equal(readFileSync(join(scene.base, '.gc-status'), 'utf8'), before, point);
    const left = (await Promise.all(garbage.map((chunk) => scene.has(chunk)))).filter(Boolean).length;
    if (point === 'sweep.unlink=kill@3') assert.equal(left, 2);
    const status = await collectGarbage(scene.store, { upid: null, log: scene.log });
    assert.equal(status.removedChunks, left, point);
    writeFileSync(join(scene.base, '.gc-status'), before);
  }
});

test('a failing unlink ends the run as an error', async () => {
  await using scene = await Scene.make();
  await scene.addChunk(30 * day);
  armFailpoint('sweep.unlink', 'error');
  await assert.rejects(scene.collect(), { code: 'failpoint' });
  assert.equal(scene.store.processLock.heldAlone, false);
});

test('whichever call of the chunk store fails, the run ends as an error and every index stays whole', async () => {
  for (const [method, calls] of [['touch', [1, 20, 37]], ['sweep', [1]]] as const) {
    for (const call of calls) {
      await using scene = await Scene.make();
      const garbage = await scene.addChunk(30 * day);
      const before = readFileSync(join(scene.base, '.gc-status'), 'utf8');
      const { backend, pending } = faultyChunkBackend(scene.backend, [{ method, call, code: 'store.io' }]);
      await assert.rejects(collectGarbage({ ...scene.store, chunks: backend }, { upid: null, log: scene.log }), { code: 'store.io' });
      assert.equal(pending().length, 0);
      assert.ok(await scene.has(garbage));
      assert.equal(readFileSync(join(scene.base, '.gc-status'), 'utf8'), before);
      assert.equal(await checkWhole(scene.base, scene.backend), 37);
    }
  }
});
