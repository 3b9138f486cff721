import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { detachMount } from '../../src/sys/mount-point.ts';
import { BackupGround } from '../support/backup-ground.ts';
import { clientPasswords } from '../support/client-server.ts';
import { comparableTree, fuseMissing, isMounted, loopMissing, recordElsewhere, runProcess, startClientProcess, startProcess, until, type ProcessRun, type RunningProcess } from '../support/fuse.ts';
import { fixturePath, goldenPassphrase } from '../support/golden.ts';
import { randomImage, SeededRandom, testSeed, writeRandomTree } from '../support/random-tree.ts';
import { writeSpecialKinds } from '../support/special-kinds.ts';

/** The real program and the real kernel over a whole server in this process: nothing here may read a mount itself, it would wait for itself. */

const noFuse = fuseMissing();
const noLoop = loopMissing();
const key = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];
const keyEnvironment = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };

/** A user's environment for programs. */
function environment(ground: BackupGround): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    HOME: ground.home.path,
    PBS_REPOSITORY: `admin@pbs@127.0.0.1:${ground.server.port}:main`,
    PBS_PASSWORD: clientPasswords['admin@pbs'],
    PBS_FINGERPRINT: ground.server.fingerprint,
    ...keyEnvironment,
  };
}

async function run(ground: BackupGround, ...argv: string[]): Promise<ProcessRun> {
  return startClientProcess(argv, environment(ground)).ended;
}

/** A ground, and what is taken away before it when the test ends, however it ends: nobody may wait for a server that is gone. */
class MountGround {
  readonly ground: BackupGround;
  readonly #processes: RunningProcess[];
  readonly #targets: string[];

  private constructor(ground: BackupGround, processes: RunningProcess[], targets: string[]) {
    this.ground = ground;
    this.#processes = processes;
    this.#targets = targets;
  }

  static async make(t: TestContext): Promise<MountGround> {
    const processes: RunningProcess[] = [];
    const targets: string[] = [];
    // Hooks run in the order of their registration.
    t.after(async () => {
      for (const process of processes) process.kill('SIGKILL');
      for (const target of targets) if (isMounted(target)) detachMount(target);
      await Promise.all(processes.map(({ ended }) => ended));
    });
    return new MountGround(await BackupGround.make(t), processes, targets);
  }

  /** A folder to mount on. */
  target(name = 'mnt'): string {
    const path = this.ground.path(name);
    mkdirSync(path);
    this.#targets.push(path);
    return path;
  }

  start(argv: readonly string[], options: { env?: NodeJS.ProcessEnv; uid?: number } = {}): RunningProcess {
    const started = startClientProcess(argv, options.env ?? environment(this.ground), options.uid === undefined ? {} : { uid: options.uid });
    this.#processes.push(started);
    return started;
  }

  /** Mounts in the foreground, until it can be used. */
  async mounted(argv: readonly string[], target: string, options: { env?: NodeJS.ProcessEnv; uid?: number } = {}): Promise<RunningProcess> {
    const mount = this.start([...argv, '--verbose'], options);
    let end: ProcessRun | null = null;
    void mount.ended.then((ended) => (end = ended));
    await until(() => isMounted(target) || end !== null, 'a mount');
    assert.equal(end, null);
    return mount;
  }
}

suite('mount', { skip: noFuse }, () => {
  const kinds = [
    { name: 'unified', options: [] },
    { name: 'split', options: ['--change-detection-mode', 'metadata'] },
    { name: 'encrypted', options: ['--change-detection-mode', 'data', ...key] },
  ];
  for (const { name, options } of kinds) {
    test(`a ${name} archive looks like the tree that it is of, in every field`, async (t) => {
      const seed = testSeed();
      t.diagnostic(`seed ${seed}`);
      const mounts = await MountGround.make(t);
      const { ground } = mounts;
      const tree = ground.path('tree');
      mkdirSync(tree);
      writeSpecialKinds(tree, new SeededRandom(seed));
      writeRandomTree(tree, seed, { size: 20_000_000, files: 30 });
      const { snapshot } = await ground.backUp([`root.pxar:${tree}`, ...options], { env: keyEnvironment });
      const used = name === 'encrypted' ? key : [];
      assert.equal((await ground.home.run(['restore', snapshot, 'root.pxar', ground.path('restored'), ...used], { env: keyEnvironment })).exit, 0);
      const target = mounts.target();
      // In the background: the command ends when the mount can be used.
      assert.deepEqual(await run(ground, 'mount', snapshot, 'root.pxar', target, ...used), { stdout: '', stderr: name === 'encrypted' ? (await signedText(snapshot, ground)) : '', code: 0 });
      assert.ok(isMounted(target));
      assert.deepEqual(comparableTree(await recordElsewhere(target)), comparableTree(await recordElsewhere(ground.path('restored'))));
      const unmounted = await runProcess('umount', [target]);
      assert.deepEqual([unmounted.code, unmounted.stderr], [0, '']);
    });
  }

  test('several readers, parts of files, names that are not there, and nothing can be changed', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const tree = ground.path('tree');
    mkdirSync(tree);
    const content = new SeededRandom(5).noise(24 * 1024 * 1024 + 7);
    for (const name of ['one', 'two']) writeFileSync(join(tree, name), content);
    const many = join(tree, 'many');
    mkdirSync(many);
    for (let i = 0; i < 3000; i += 1) writeFileSync(join(many, `file-${i}`), '');
    const { snapshot } = await ground.backUp([`root.pxar:${tree}`, '--change-detection-mode', 'data']);
    const target = mounts.target();
    const mount = await mounts.mounted(['mount', snapshot, 'root.pxar', target], target);
    const script = `
      const fs = require('node:fs');
      const assert = require('node:assert/strict');
      const expected = fs.readFileSync(process.argv[1] + '/one');
      const mnt = process.argv[2];
      (async () => {
        const part = async (name, at, length) => {
          const file = await fs.promises.open(mnt + '/' + name);
          const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
          await file.close();
          assert.ok(buffer.subarray(0, bytesRead).equals(expected.subarray(at, at + length)), name + ' at ' + at);
        };
        await Promise.all(Array.from({ length: 40 }, (_, i) => part(i % 2 ? 'one' : 'two', (i * 7919 * 613) % expected.length, 1 + (i * 50021) % 900000)));
        await part('one', expected.length - 3, 100);
        await part('one', expected.length + 3, 100);
        assert.ok((await fs.promises.readFile(mnt + '/two')).equals(expected));
        const names = await fs.promises.readdir(mnt + '/many');
        assert.deepEqual(names.sort(), Array.from({ length: 3000 }, (_, i) => 'file-' + i).sort());
        const code = (work) => work.then(() => 'done', (e) => e.code);
        assert.equal(await code(fs.promises.stat(mnt + '/nothing')), 'ENOENT');
        assert.equal(await code(fs.promises.stat(mnt + '/one/nothing')), 'ENOTDIR');
        assert.equal(await code(fs.promises.readlink(mnt + '/one')), 'EINVAL');
        const { writeFile, appendFile, rm, mkdir, chmod, rename, symlink } = fs.promises;
        for (const change of [() => writeFile(mnt + '/new', ''), () => appendFile(mnt + '/one', 'x'), () => rm(mnt + '/one'), () => mkdir(mnt + '/dir'), () => chmod(mnt + '/one', 0o600), () => rename(mnt + '/one', mnt + '/three'), () => symlink('a', mnt + '/l')]) assert.equal(await code(change()), 'EROFS');
        const { blocks, bsize, bavail } = await fs.promises.statfs(mnt);
        assert.ok(blocks * bsize > 2 * expected.length && bavail === 0);
      })();`;
    const read = await runProcess(process.execPath, ['-e', script, tree, target]);
    assert.deepEqual([read.stderr, read.code], ['', 0]);
    await runProcess('umount', [target]);
    assert.deepEqual(await mount.ended, { stdout: '', stderr: '', code: 0 });
  });

  test('a signal unmounts, also under those who use it', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const tree = ground.path('tree');
    mkdirSync(tree);
    const { snapshot } = await ground.backUp([`root.pxar:${tree}`]);
    const target = mounts.target();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const mount = await mounts.mounted(['mount', snapshot, 'root.pxar', target], target);
      const user = await startUser(target);
      mount.kill(signal);
      assert.deepEqual(await mount.ended, { stdout: '', stderr: '', code: 0 }, signal);
      assert.ok(!isMounted(target), signal);
      user.kill('SIGKILL');
      await user.ended;
    }
  });

  test('a damaged chunk is an error for who needs it, and is logged; the mount goes on', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const tree = ground.path('tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'small'), 'small');
    const before = new Set(await chunkFiles(ground));
    writeFileSync(join(tree, 'large'), new SeededRandom(11).noise(1_000_000));
    const { snapshot } = await ground.backUp([`root.pxar:${tree}`, '--change-detection-mode', 'data']);
    const added = (await chunkFiles(ground)).filter((path) => !before.has(path));
    const sizes = await Promise.all(added.map(async (path) => ({ path, size: (await stat(path)).size })));
    const damaged = sizes.toSorted((a, b) => b.size - a.size)[0]!.path;
    const bytes = await readFile(damaged);
    await chmod(damaged, 0o600);
    await writeFile(damaged, Buffer.concat([bytes.subarray(0, -1), Buffer.of(bytes.at(-1)! ^ 1)]));
    const target = mounts.target();
    const mount = await mounts.mounted(['mount', snapshot, 'root.pxar', target], target);
    for (let tries = 0; tries < 2; tries += 1) {
      const failed = await runProcess('cat', [join(target, 'large')], { env: { PATH: process.env['PATH'], LC_ALL: 'C' } });
      assert.match(failed.stderr, /Input\/output error/);
    }
    const digest = damaged.slice(damaged.lastIndexOf('/') + 1);
    // Once, not with every try.
    assert.match(mount.stderr(), new RegExp(`^error reading from ${snapshot}: "/large": chunk ${digest} is not what the index names[^\n]*\n$`));
    // What was damaged is asked for again, and what comes is good now.
    await writeFile(damaged, bytes);
    const healed = await runProcess('cmp', [join(target, 'large'), join(tree, 'large')]);
    assert.deepEqual([healed.code, healed.stdout, healed.stderr], [0, '', '']);
    assert.equal((await runProcess('ls', [target])).stdout, 'large\nsmall\n');
    mount.kill('SIGTERM');
    assert.equal((await mount.ended).code, 0);
  });

  test('what cannot be mounted says why, also from the background', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const target = mounts.target();
    const snapshot = 'host/plain/2025-10-10T08:53:20Z';
    const { code, stderr } = await run(ground, 'mount', snapshot, 'nothing.pxar', target);
    assert.deepEqual([code, stderr.split('\n')[0]], [255, 'Error: archive not found in manifest']);
    assert.ok(!isMounted(target));
  });

  test('an ordinary user mounts with fusermount3', { skip: noHelper() }, async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const tree = ground.path('tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'f'), 'of a user');
    const { snapshot } = await ground.backUp([`root.pxar:${tree}`]);
    const nobody = 65_534;
    const home = ground.path('user');
    await mkdir(home);
    const target = mounts.target('user/mnt');
    for (const path of [home, target]) await chown(path, nobody, nobody);
    await chmod(ground.home.path, 0o755);
    const env = { ...environment(ground), HOME: home };
    const mount = await mounts.mounted(['mount', snapshot, 'root.pxar', target], target, { env, uid: nobody });
    const read = await runProcess('cat', [join(target, 'f')], { uid: nobody });
    assert.deepEqual([read.stdout, read.stderr], ['of a user', '']);
    mount.kill('SIGTERM');
    assert.deepEqual(await mount.ended, { stdout: '', stderr: '', code: 0 });
    assert.ok(!isMounted(target));
  });
});

/** Why ordinary users cannot mount here. */
function noHelper(): string | false {
  if (noFuse !== false) return noFuse;
  if (!existsSync('/usr/bin/fusermount3') && !existsSync('/bin/fusermount3')) return 'fusermount3 is not installed';
  return (statSync('/dev/fuse').mode & 0o666) === 0o666 ? false : '/dev/fuse is not for ordinary users here';
}

/** A process whose working directory is the mount. */
async function startUser(target: string): Promise<RunningProcess> {
  const user = startProcess('sh', ['-c', 'echo here >&2; exec sleep 600'], { cwd: target });
  await until(() => user.stderr() !== '', 'a user of the mount');
  return user;
}

async function signedText(snapshot: string, ground: BackupGround): Promise<string> {
  const { stderr } = await ground.home.run(['restore', snapshot, 'index.json', '-', ...key], { env: keyEnvironment });
  return stderr;
}

async function chunkFiles(ground: BackupGround): Promise<string[]> {
  const root = join(ground.server.path, '.chunks');
  const folders = await readdir(root);
  const files = await Promise.all(folders.map(async (folder) => (await readdir(join(root, folder))).map((name) => join(root, folder, name))));
  return files.flat().filter((path) => /\/[0-9a-f]{64}$/.test(path));
}

suite('map', { skip: noLoop }, () => {
  test('an image is a block device, until it is unmapped', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    const image = randomImage(testSeed(), 5, 1024 * 1024);
    writeFileSync(ground.path('disk'), image);
    const { snapshot } = await ground.backUp([`drive-scsi0.img:${ground.path('disk')}`]);
    const name = `admin@pbs@127.0.0.1:${ground.server.port}:main:${snapshot}/drive-scsi0.img`;
    const mapped = await run(ground, 'map', snapshot, 'drive-scsi0.img');
    assert.deepEqual([mapped.code, mapped.stdout], [0, '']);
    const device = /^Image '(.*)' mapped on (\/dev\/loop\d+)\n$/.exec(mapped.stderr);
    assert.ok(device !== null && device[1] === name, mapped.stderr);
    assert.equal((await runProcess('cmp', [ground.path('disk'), device[2]!])).code, 0);
    assert.equal((await runProcess('blockdev', ['--getro', device[2]!])).stdout, '1\n');
    const twice = await run(ground, 'map', snapshot, 'drive-scsi0.img');
    assert.deepEqual([twice.code, twice.stderr.split('\n')[0]], [255, 'Error: the given archive is already mapped, cannot map twice']);
    assert.ok((await run(ground, 'unmap')).stdout.includes(`${device[2]}:\t${name}\n`));
    assert.deepEqual(await run(ground, 'unmap', `${ground.server.port}:main:${snapshot}/drive-scsi0.img`), { stdout: '', stderr: '', code: 0 });
    assert.ok(!(await run(ground, 'unmap')).stdout.includes(name));
    const again = await run(ground, 'unmap', device[2]!);
    assert.deepEqual([again.code, again.stderr.split('\n')[0]], [255, `Error: nothing mapped to ${device[2]}`]);
  });

  test('what a killed process has left is cleaned up', async (t) => {
    const mounts = await MountGround.make(t);
    const { ground } = mounts;
    writeFileSync(ground.path('disk'), Buffer.alloc(1024 * 1024, 1));
    const { snapshot } = await ground.backUp([`a.img:${ground.path('disk')}`]);
    const map = mounts.start(['map', snapshot, 'a.img', '--verbose']);
    await until(() => /mapped on/.test(map.stderr()), 'a mapped image');
    const device = /mapped on (\S+)/.exec(map.stderr())![1]!;
    map.kill('SIGKILL');
    await map.ended;
    assert.ok(!(await run(ground, 'unmap')).stdout.includes(`:${ground.server.port}:main:${snapshot}`));
    await until(() => !existsSync(`/sys/block/${device.slice('/dev/'.length)}/loop/backing_file`) || !readFileSync(`/sys/block/${device.slice('/dev/'.length)}/loop/backing_file`, 'utf8').includes(String(ground.server.port)), 'a free loop device');
    const again = mounts.start(['map', snapshot, 'a.img', '--verbose']);
    await until(() => /mapped on/.test(again.stderr()), 'the image to be mapped again');
    again.kill('SIGINT');
    assert.equal((await again.ended).code, 0);
  });
});
