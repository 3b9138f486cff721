import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { detachMount } from '../../src/sys/mount-point.ts';
import { comparableTree, fuseMissing, isMounted, loopMissing, recordElsewhere, runProcess, startClientProcess, until } from '../support/fuse.ts';
import { fixturePath } from '../support/golden.ts';
import { Peer, type ClientTarget } from '../support/peer.ts';
import { keyEnvironment, makeAdmin } from '../support/peer-backups.ts';
import { randomImage, SeededRandom, testSeed, writeRandomTree } from '../support/random-tree.ts';
import { writeSpecialKinds } from '../support/special-kinds.ts';

const key = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];
const kinds = [
  { id: 'legacy', options: [], key: [] },
  { id: 'split', options: ['--change-detection-mode', 'metadata'], key: [] },
  { id: 'encrypted', options: ['--change-detection-mode', 'data', ...key], key },
];

function environment(target: ClientTarget, home: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: home, PBS_REPOSITORY: `${target.authId}@${target.host}:${target.port}:${target.store}`, PBS_PASSWORD: target.secret, PBS_FINGERPRINT: target.fingerprint, ...keyEnvironment };
}

test('what the reference’s client backed up, mounted, mapped and looked into by ours', { skip: fuseMissing() }, async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  const mnt = join(work, 'mnt');
  t.after(async () => {
    if (isMounted(mnt)) detachMount(mnt);
    await rm(work, { recursive: true, force: true });
  });
  await using peer = await Peer.start();
  await peer.manager('datastore', 'create', 'main', '/data/main');
  const server = await makeAdmin(peer, 'main');
  const tree = join(work, 'tree');
  await mkdir(tree);
  writeSpecialKinds(tree, new SeededRandom(seed));
  writeRandomTree(tree, seed, { size: 12_000_000 });
  const disk = join(work, 'disk');
  await writeFile(disk, randomImage(seed, 6, 1024 * 1024));
  await mkdir(mnt);
  const env = environment(server, work);
  const theirs = async (argv: readonly string[]): Promise<string> => {
    const ran = await peer.tryClient(server, argv, { env: keyEnvironment });
    assert.equal(ran.status, 0, ran.stderr);
    return ran.stdout;
  };

  for (const { id, options, key: used } of kinds) {
    await t.test(id, async () => {
      await theirs(['backup', `root.pxar:${tree}`, `disk.img:${disk}`, '--backup-id', id, ...options]);
      const restored = join(work, `restored-${id}`);
      await theirs(['restore', `host/${id}`, 'root.pxar', restored, ...used]);
      const mount = await startClientProcess(['mount', `host/${id}`, 'root.pxar', mnt, ...used], env).ended;
      assert.equal(mount.code, 0, mount.stderr);
      assert.deepEqual(comparableTree(await recordElsewhere(mnt)), comparableTree(await recordElsewhere(restored)));
      assert.equal((await runProcess('umount', [mnt])).code, 0);
      await until(() => !isMounted(mnt), 'the mount to be gone');
    });
  }

  await t.test('a mapped image, which the reference sees and unmaps', { skip: loopMissing() }, async () => {
    const map = await startClientProcess(['map', 'host/legacy', 'disk.img'], env).ended;
    const device = /mapped on (\/dev\/loop\d+)\n$/.exec(map.stderr)?.[1];
    assert.ok(device !== undefined, map.stderr);
    assert.equal((await runProcess('cmp', [disk, device])).code, 0);
    const listed = await peer.tryClient(server, ['unmap'], { env: {} });
    const name = `${env['PBS_REPOSITORY']}:host/legacy/disk.img`;
    assert.ok(`${listed.stdout}${listed.stderr}`.includes(`${device}:\t${name}`), listed.stdout + listed.stderr);
    const unmapped = await peer.tryClient(server, ['unmap', device], { env: {} });
    assert.equal(unmapped.status, 0, unmapped.stderr);
    assert.ok(!(await startClientProcess(['unmap'], env).ended).stdout.includes(name));
  });
});
