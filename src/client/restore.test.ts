import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, readdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { ClientHome, ScriptedPrompter, type ClientRun, type ClientRunOptions } from '../../test/support/client-runs.ts';
import { clientServer, type ClientServer } from '../../test/support/client-server.ts';
import { fixturePath, goldenPassphrase, readFixture, temporaryFolder } from '../../test/support/golden.ts';
import { toHex } from '../base/bytes.ts';
import { ChunkIndex } from '../format/chunk-index.ts';
import { decodeManifestBlob, encodeManifestBlob } from '../format/manifest.ts';

const images = new Map(readFixture('expected/images.sha256').toString('utf8').trim().split('\n').map((line) => line.split(/ +/).toReversed() as [string, string]));
const encrypted = 'host/crypt/2025-10-10T08:56:40Z';
const keyfile = fixturePath('keys/kdf-scrypt.key');

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

interface Ground {
  server: ClientServer;
  home: ClientHome;
  /** Folder for targets. */
  folder: string;
  run: (argv: string[], options?: ClientRunOptions) => Promise<ClientRun>;
}

async function ground(t: TestContext, options: { own?: boolean } = {}): Promise<Ground> {
  const server = await clientServer(t, options);
  const home = await ClientHome.make(t, server);
  const folder = await temporaryFolder();
  t.after(() => folder[Symbol.asyncDispose]());
  return { server, home, folder: folder.path, run: (argv, more) => home.run(argv, more) };
}

test('images equal what the reference restored', async (t) => {
  const { folder, run } = await ground(t);
  const [disk, img1, img2] = ['disk', 'img1', 'img2'].map((name) => join(folder, name));
  assert.equal((await run(['restore', 'vm/100', 'drive-scsi0.img', disk!])).exit, 0);
  assert.equal(sha256(await readFile(disk!)), images.get('disk'));
  const { size, blocks } = await stat(disk!);
  assert.ok(blocks * 512 <= size);

  const run1 = await run(['restore', encrypted, 'data.img', img1!, '--keyfile', keyfile], { env: { PBS_ENCRYPTION_PASSWORD: goldenPassphrase } });
  assert.match(run1.stderr, /^Using encryption key from '.*kdf-scrypt\.key'\.\.\nFingerprint: 7a:24:be:e8:86:36:83:3c\nrestore complete \(12\.398 MiB processed in /);
  assert.equal(sha256(await readFile(img1!)), images.get('img1'));

  const key = await open(keyfile);
  try {
    const prompter = new ScriptedPrompter(goldenPassphrase);
    const run2 = await run(['restore', 'host/crypt', 'data.img', img2!, '--keyfd', String(key.fd)], { prompter });
    assert.deepEqual([run2.exit, prompter.asked], [0, ['secret: Encryption Key Password: ']]);
    assert.ok(run2.stderr.startsWith('Using encryption key from file descriptor..\n'));
    assert.equal(sha256(await readFile(img2!)), images.get('img1'));
  } finally {
    await key.close();
  }
});

test('the default key is picked up, and only --crypt-mode none leaves it', async (t) => {
  const { home, run } = await ground(t);
  const target = join(home.path, '.config/proxmox-backup');
  await mkdir(target, { recursive: true });
  await writeFile(join(target, 'encryption-key.json'), readFixture('keys/kdf-none.key'));
  const withKey = await run(['restore', 'host/signed', 'index.json', '-']);
  assert.deepEqual([withKey.stderr, withKey.exit], ['Using default encryption key..\nFingerprint: 40:de:e3:93:fa:c1:1b:b6\n', 0]);
  const asked = await run(['restore', 'host/signed', 'index.json', '-', '--crypt-mode', 'encrypt']);
  assert.ok(asked.stderr.startsWith('Encrypting with default encryption key!\nUsing default encryption key..\n'));
  assert.match((await run(['restore', 'host/signed', 'index.json', '-', '--crypt-mode', 'none'])).stderr, /^Error: missing key - /);
});

test('a catalog is no directory tree, and patterns are for folders', async (t) => {
  const { folder, run } = await ground(t);
  const catalog = await run(['restore', 'host/plain', 'catalog.pcat1', join(folder, 'tree')]);
  assert.match(catalog.stderr, /^Error: 'catalog\.pcat1\.didx' is no directory tree\n\nHint: .*'-' as target/);
  for (const group of ['host/plain', 'host/split']) {
    const piped = await run(['restore', group, 'root.pxar', '-', '--pattern', '*.txt']);
    assert.match(piped.stderr, /^Error: patterns not allowed when restoring to stdout\n/);
  }
  assert.match((await run(['restore', 'host/split', 'root.pxar', '-'])).stderr, /^Error: unable to pipe split archive\n/);
  assert.deepEqual(await readdir(folder), []);
});

suite('what a server cannot pass off', () => {
  const snapshot = 'vm/100/2025-10-10T09:00:00Z';
  const damage = async (t: TestContext, change: (path: string, index: ChunkIndex) => Promise<void>): Promise<Ground> => {
    const all = await ground(t, { own: true });
    const path = join(all.server.path, snapshot);
    await change(path, ChunkIndex.parse('fixed', await readFile(join(path, 'drive-scsi0.img.fidx'))));
    return all;
  };
  const refused = async (all: Ground, archive: string, message: RegExp): Promise<void> => {
    const { stderr, exit } = await all.run(['restore', 'vm/100', archive, join(all.folder, 'out')]);
    assert.match(stderr, message);
    assert.deepEqual([exit, await readdir(all.folder)], [255, []]);
  };
  const chunkPath = (all: string, digest: Uint8Array): string => join(all, '../../..', '.chunks', toHex(digest).slice(0, 4), toHex(digest));

  test('a damaged chunk, an exchanged chunk, a missing chunk', async (t) => {
    for (const [change, message] of [
      [async (path, index) => writeFile(chunkPath(path, index.digest(2)), (await readFile(chunkPath(path, index.digest(2)))).fill(1, 2000, 2010)), /^Error: chunk [0-9a-f]{64} is not what the index names\n\nCaused by:/],
      [async (path, index) => writeFile(chunkPath(path, index.digest(2)), await readFile(chunkPath(path, index.digest(1)))), /^Error: chunk [0-9a-f]{64} is not what the index names\n\nCaused by:/],
      [async (path, index) => unlink(chunkPath(path, index.digest(2))), /^Error: reading file ".*" failed: No such file or directory \(os error 2\)/],
    ] as Array<[(path: string, index: ChunkIndex) => Promise<void>, RegExp]>) {
      await refused(await damage(t, change), 'drive-scsi0.img', message);
    }
  });

  test('an index or a blob that is not the manifest’s', async (t) => {
    const all = await damage(t, async (path) => {
      await writeFile(join(path, 'drive-scsi0.img.fidx'), (await readFile(join(path, 'drive-scsi0.img.fidx'))).fill(3, 4200, 4210));
      const blob = await readFile(join(path, 'qemu-server.conf.blob'));
      await writeFile(join(path, 'qemu-server.conf.blob'), blob.fill(0, blob.length - 1));
    });
    await refused(all, 'drive-scsi0.img', /^Error: wrong checksum for file 'drive-scsi0\.img\.fidx'/);
    await refused(all, 'qemu-server.conf', /^Error: wrong checksum for file 'qemu-server\.conf\.blob'/);
  });

  test('a manifest of another snapshot is said, a changed signed one refused', async (t) => {
    const all = await damage(t, async (path) => {
      await writeFile(join(path, 'index.json.blob'), await readFile(join(path, '../2025-10-09T09:00:00Z/index.json.blob')));
      const signed = join(path, '../../../host/crypt/2025-10-10T08:56:40Z/index.json.blob');
      const manifest = decodeManifestBlob(await readFile(signed));
      manifest.files[0]!.size += 1;
      await writeFile(signed, encodeManifestBlob(manifest));
    });
    assert.equal((await all.run(['restore', 'vm/100', 'index.json', '-'])).stderr, 'WARNING: the manifest of vm/100/2025-10-10T09:00:00Z says that it is of vm/100/2025-10-09T09:00:00Z\n');
    const run = await all.run(['restore', encrypted, 'index.json', '-', '--keyfile', keyfile], { env: { PBS_ENCRYPTION_PASSWORD: goldenPassphrase } });
    assert.deepEqual([run.stderr, run.bytes.length, run.exit], ['Error: wrong signature in manifest\n', 0, 255]);
  });
});

test('a group means its newest finished snapshot', async (t) => {
  const all = await ground(t, { own: true });
  await unlink(join(all.server.path, 'vm/100/2025-10-10T09:00:00Z/index.json.blob'));
  const run = await all.run(['restore', 'vm/100', 'index.json', '-']);
  assert.equal(run.stderr, 'skipped not finished snapshot vm/100/2025-10-10T09:00:00Z\n');
  assert.equal((JSON.parse(String(run.bytes)) as Record<string, unknown>)['backup-time'], 1_760_000_400);
  await unlink(join(all.server.path, 'vm/100/2025-10-09T09:00:00Z/index.json.blob'));
  assert.match((await all.run(['restore', 'vm/100', 'index.json', '-'])).stderr, /\nError: backup group vm\/100 does not contain any finished snapshots\.\n/);
});

test('Ctrl-C ends a restore and leaves nothing', async (t) => {
  const { folder, run } = await ground(t);
  let interrupt = (): void => {};
  // At 1 MiB/s this would take long: the interrupt comes while chunks are on their way.
  const running = run(['restore', 'vm/100', 'drive-scsi0.img', join(folder, 'out'), '--rate', '1MiB'], { onListen: (stop) => (interrupt = stop) });
  const isOver = (): Promise<boolean> => Promise.race([running.then(() => true), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 5))]);
  while ((await readdir(folder)).length === 0) assert.equal(await isOver(), false, 'the restore ended before it could be interrupted');
  interrupt();
  assert.deepEqual(await running, { stdout: '', bytes: Buffer.alloc(0), stderr: 'Error: interrupted\n', exit: 255 });
  assert.deepEqual(await readdir(folder), []);
});

test('a reader that leaves ends the restore', async (t) => {
  const { run } = await ground(t);
  let written = 0;
  const output = {
    write: (bytes: Uint8Array): Promise<void> => {
      written += bytes.length;
      return written > 5_000_000 ? Promise.reject(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })) : Promise.resolve();
    },
  };
  const { stderr, exit } = await run(['restore', 'vm/100', 'drive-scsi0.img', '-'], { output });
  assert.deepEqual([stderr, exit], ['Error: unable to write to standard output - Broken pipe (os error 32)\n', 255]);
});
