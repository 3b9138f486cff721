import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { BackupGround } from '../support/backup-ground.ts';
import type { ClientRun } from '../support/client-runs.ts';
import { DelayProxy } from '../support/delay-proxy.ts';
import { noise } from '../support/made-snapshots.ts';
import { describeTree, testSeed, writeRandomTree } from '../support/random-tree.ts';

/** Backups and restores over a line that breaks. */

interface Line {
  ground: BackupGround;
  proxy: DelayProxy;
  /** Client's variables to go over the line. */
  env: Record<string, string>;
}

async function line(t: TestContext): Promise<Line> {
  const ground = await BackupGround.make(t);
  const proxy = await DelayProxy.start({ target: { host: '127.0.0.1', port: ground.server.port } });
  t.after(() => proxy[Symbol.asyncDispose]());
  return { ground, proxy, env: { PBS_REPOSITORY: `admin@pbs@127.0.0.1:${proxy.port}:main` } };
}

/** So many places between 0 and `length`, spread by the seed. */
function places(length: number, count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const offset = createHash('sha256').update(`${seed}-${i}`).digest().readUInt32LE(0) / 2 ** 32;
    return Math.floor(((i + offset) * length) / count);
  });
}

/** What a run says of broken connections. */
function reconnects({ stderr }: ClientRun): number {
  return stderr.match(/^connection lost \(/gm)?.length ?? 0;
}

/** An image and trees of either version on the server. */
async function stored(ground: BackupGround, seed: number): Promise<{ image: Buffer; tree: string[]; snapshots: Record<'image' | 'v1' | 'v2', string> }> {
  const image = Buffer.concat([noise('image', 9_000_000), Buffer.alloc(5_000_000), noise('image-end', 3_000_000)]);
  writeFileSync(ground.path('disk'), image);
  mkdirSync(ground.path('tree'));
  writeRandomTree(ground.path('tree'), seed);
  writeFileSync(ground.path('tree/large'), noise('large', 9_000_000));
  const ofImage = await ground.backUp([`disk.img:${ground.path('disk')}`]);
  const v1 = await ground.backUp([`root.pxar:${ground.path('tree')}`]);
  const v2 = await ground.backUp([`root.pxar:${ground.path('tree')}`, '--change-detection-mode', 'data']);
  for (const run of [ofImage, v1, v2]) assert.equal(run.exit, 0, run.stderr);
  return { image, tree: describeTree(ground.path('tree')), snapshots: { image: ofImage.snapshot, v1: v1.snapshot, v2: v2.snapshot } };
}

test('a restore goes on wherever the line breaks, however often', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const { ground, proxy, env } = await line(t);
  const { image, tree, snapshots } = await stored(ground, seed);
  for (const kind of ['image', 'v1', 'v2'] as const) {
    const target = ground.path('restored');
    const run = (): Promise<ClientRun> => ground.home.run(['restore', snapshots[kind], kind === 'image' ? 'disk.img' : 'root.pxar', target], { env });
    const compare = async (what: string): Promise<void> => {
      if (kind === 'image') assert.ok(image.equals(await readFile(target)), what);
      else assert.deepEqual(describeTree(target), tree, what);
      rmSync(target, { recursive: true });
    };
    const before = proxy.delivered.down;
    const whole = await run();
    assert.deepEqual([whole.exit, reconnects(whole)], [0, 0], whole.stderr);
    await compare('uncut');
    const length = proxy.delivered.down - before;
    // Once at each of many places: before there is a session the command fails and leaves nothing, afterwards it goes on.
    let wentOn = 0;
    for (const place of places(length, 12, seed)) {
      const cuts = proxy.cuts;
      proxy.cutAfter(place);
      const cut = await run();
      const what = `${kind} cut after ${place} of ${length} bytes\n${cut.stderr}`;
      assert.equal(proxy.cuts, cuts + 1, what);
      if (cut.exit === 0) {
        await compare(what);
        wentOn += reconnects(cut);
      } else {
        assert.match(cut.stderr, /^Error: /m, what);
        assert.equal(existsSync(target), false, what);
        assert.equal(reconnects(cut), 0, what);
      }
      proxy.cutAfter();
    }
    assert.ok(wentOn >= 6, `${kind}: went on ${wentOn} times`);
    // At several places of one run, the line growing longer by what is sent again.
    const cuts = proxy.cuts;
    proxy.cutAfter(...places(length, 6, seed + 1).map((place) => Math.max(place, Math.floor(length / 8))));
    const often = await run();
    assert.equal(often.exit, 0, often.stderr);
    await compare('cut often');
    assert.equal(proxy.cuts, cuts + 6);
    proxy.cutAfter();
  }
});

test('a server that stays away ends a restore after a bounded number of attempts, with the cause, and leaves nothing', async (t) => {
  const { ground, proxy, env } = await line(t);
  const { snapshots } = await stored(ground, 1);
  const before = proxy.delivered.down;
  const restore = ['restore', snapshots.image, 'disk.img', ground.path('restored')];
  assert.equal((await ground.home.run(restore, { env })).exit, 0);
  rmSync(ground.path('restored'));
  proxy.cutAfter(Math.floor((proxy.delivered.down - before) / 2));
  proxy.refuseAfterCut = true;
  const run = await ground.home.run(restore, { env });
  assert.equal(run.exit, 255);
  assert.match(run.stderr, /^Error: .*closed the connection/m);
  assert.equal(reconnects(run), 9);
  assert.equal(readdirSync(ground.home.path).some((name) => name.startsWith('restored')), false);
});

test('a backup starts again wherever the line breaks, and is there once and whole, or not at all', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const { ground, proxy, env } = await line(t);
  mkdirSync(ground.path('tree'));
  writeRandomTree(ground.path('tree'), seed);
  writeFileSync(ground.path('disk'), noise('first', 6_000_000));
  const tree = describeTree(ground.path('tree'));
  for (const mode of ['legacy', 'metadata']) {
    const argv = [`root.pxar:${ground.path('tree')}`, `disk.img:${ground.path('disk')}`, '--change-detection-mode', mode];
    const sent = proxy.delivered.up;
    const whole = await ground.backUp(argv, { env });
    assert.equal(whole.exit, 0, whole.stderr);
    const length = proxy.delivered.up - sent;
    let again = 0;
    for (const place of places(length, 10, seed)) {
      // So that there is as much to send as the first time.
      const image = noise(`${mode}-${place}`, statSync(ground.path('disk')).size);
      writeFileSync(ground.path('disk'), image);
      proxy.cutAfterSent(place);
      const cut = await ground.backUp(argv, { env });
      proxy.cutAfterSent();
      const what = `${mode} cut after ${place} of ${length} bytes\n${cut.stderr}`;
      const folder = `${ground.server.path}/${cut.snapshot}`;
      if (cut.exit !== 0) {
        assert.match(cut.stderr, /^Error: /m, what);
        assert.equal(reconnects(cut), 0, what);
        assert.equal(existsSync(folder), false, what);
        continue;
      }
      again += reconnects(cut);
      assert.ok(image.equals(await ground.restored(cut.snapshot, 'disk.img')), what);
      const target = ground.path('restored');
      const restored = await ground.home.run(['restore', cut.snapshot, 'root.pxar', target]);
      assert.equal(restored.exit, 0, restored.stderr);
      assert.deepEqual(describeTree(target), tree, what);
      rmSync(target, { recursive: true });
    }
    assert.ok(again >= 5, `${mode}: started again ${again} times`);
  }
});
