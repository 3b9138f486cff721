import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackupGround } from '../../test/support/backup-ground.ts';
import { fixturePath, goldenPassphrase } from '../../test/support/golden.ts';
import { parseKeyFile, loadKey } from '../crypto/key-file.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { verifyManifestSignature } from '../format/manifest.ts';
import { ChunkBuffers, imageChunks } from './backup/image-chunks.ts';

/** Backups to a whole server. */

const mib = 1024 * 1024;
const keyEnvironment = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };
const keyOptions = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];

/** Random pieces with zeros between them, and an odd end. */
function image(): Buffer {
  return Buffer.concat([randomBytes(5 * mib), Buffer.alloc(13 * mib), randomBytes(1000), Buffer.alloc(4 * mib), randomBytes(777)]);
}

/** What was said without what depends on time and speed. */
function steady(text: string): string {
  return text
    .replace(/(Starting backup protocol|End Time): .*/g, '$1')
    .replace(/ in [0-9.]+ s \(average .*\)/g, '')
    .replace(/compressed [^)]*/g, 'compressed')
    .replace(/Duration: .*/, 'Duration');
}

test('an image, a config file and a log: backed up, restored, and the second time only what is new is sent', async (t) => {
  const ground = await BackupGround.make(t);
  const disk = image();
  await writeFile(ground.path('disk'), disk);
  await writeFile(ground.path('a.conf'), 'cores: 2\n');
  await writeFile(ground.path('b.log'), 'all went well\n');
  const specs = [`disk.img:${ground.path('disk')}`, `a.conf:${ground.path('a.conf')}`, `b.log:${ground.path('b.log')}`];
  const first = await ground.backUp(specs);
  assert.equal(first.exit, 0, first.stderr);
  const repository = `admin@pbs@127.0.0.1:${ground.server.port}:main`;
  assert.equal(
    steady(first.stderr),
    [
      `Starting backup: ${first.snapshot}`,
      'Client name: laptop.example.com',
      'Starting backup protocol',
      'No previous manifest available.',
      `Upload image '${ground.path('disk')}' to '${repository}' as disk.img.fidx`,
      'disk.img: had to backup 18.002 MiB of 22.002 MiB (compressed)',
      'disk.img: backup was done incrementally, reused 4 MiB (18.2%)',
      `Upload config file '${ground.path('a.conf')}' to '${repository}' as a.conf.blob`,
      `Upload log file '${ground.path('b.log')}' to '${repository}' as b.log.blob`,
      'Duration',
      'End Time\n',
    ].join('\n'),
  );
  assert.deepEqual((await ground.manifest(first.snapshot)).files.map(({ filename, cryptMode, size }) => [filename, cryptMode, filename.endsWith('fidx') ? size : 0]), [
    ['disk.img.fidx', 'none', disk.length],
    ['a.conf.blob', 'none', 0],
    ['b.log.blob', 'none', 0],
  ]);
  assert.ok((await ground.restored(first.snapshot, 'disk.img')).equals(disk));
  assert.equal(String(await ground.restored(first.snapshot, 'a.conf')), 'cores: 2\n');
  assert.equal(String(await ground.restored(first.snapshot, 'b.log')), 'all went well\n');

  disk.fill(1, 6 * mib, 6 * mib + 10);
  await writeFile(ground.path('disk'), disk);
  const second = await ground.backUp(specs.slice(0, 1));
  assert.match(second.stderr, /Downloading previous manifest \(.*\)\n/);
  assert.match(second.stderr, /disk\.img: had to backup 4 MiB of 22\.002 MiB /);
  assert.ok((await ground.restored(second.snapshot, 'disk.img')).equals(disk));
  const third = await ground.backUp([...specs.slice(0, 1), `other.img:${ground.path('disk')}`]);
  assert.match(third.stderr, /disk\.img: had to backup 0 B of 22\.002 MiB \(compressed 0 B\)/);
  assert.match(third.stderr, /Previous manifest does not contain an archive called 'other\.img\.fidx', skipping download\.\.\n/);
  assert.ok((await ground.restored(third.snapshot, 'other.img')).equals(disk));

  const tasks = JSON.parse((await ground.home.run(['task', 'list', '--all', '--output-format', 'json'])).stdout) as Array<Record<string, unknown>>;
  assert.deepEqual(tasks.filter((task) => task['worker_type'] === 'backup').map((task) => task['status']), ['OK', 'OK', 'OK']);
});

test('with a key everything is encrypted and the manifest signed; for the holder of a master key the key lies beside it', async (t) => {
  const ground = await BackupGround.make(t);
  const disk = image();
  await writeFile(ground.path('disk'), disk);
  await writeFile(ground.path('a.conf'), 'cores: 2\n');
  const specs = [`disk.img:${ground.path('disk')}`, `a.conf:${ground.path('a.conf')}`];
  const master = ['--master-pubkey-file', fixturePath('keys/master-public.pem')];
  const encrypted = await ground.backUp([...specs, ...keyOptions, ...master], { env: keyEnvironment });
  assert.equal(encrypted.exit, 0, encrypted.stderr);
  assert.match(encrypted.stderr, /\nUsing encryption key from '.*kdf-scrypt\.key'\.\.\nEncryption key fingerprint: 7a:24:be:e8:86:36:83:3c\nUsing master key from '.*master-public\.pem'\.\.\nNo previous manifest available\.\n/);
  assert.match(encrypted.stderr, /\nUpload RSA encoded key to '.*' as rsa-encrypted\.key\.blob\n/);
  const manifest = await ground.manifest(encrypted.snapshot);
  assert.deepEqual(manifest.files.map(({ filename, cryptMode }) => [filename, cryptMode]), [['disk.img.fidx', 'encrypt'], ['a.conf.blob', 'encrypt'], ['rsa-encrypted.key.blob', 'encrypt']]);
  const crypt = new CryptConfig(await loadKey(parseKeyFile(await readFile(keyOptions[1]!)), () => goldenPassphrase));
  assert.equal(verifyManifestSignature(manifest, crypt), 'valid');
  assert.ok(!(await readFile(join(ground.server.path, encrypted.snapshot, 'a.conf.blob'))).includes('cores'));
  assert.ok((await ground.restored(encrypted.snapshot, 'disk.img', keyOptions, { env: keyEnvironment })).equals(disk));
  assert.equal(String(await ground.restored(encrypted.snapshot, 'a.conf', keyOptions, { env: keyEnvironment })), 'cores: 2\n');
  assert.equal((await ground.restored(encrypted.snapshot, 'rsa-encrypted.key')).length, 512);

  const again = await ground.backUp([...specs, ...keyOptions], { env: keyEnvironment });
  assert.match(again.stderr, /disk\.img: had to backup 0 B of /);
  const signed = await ground.backUp([...specs, ...keyOptions, '--crypt-mode', 'sign-only'], { env: keyEnvironment });
  assert.match(signed.stderr, /disk\.img: had to backup 18\.002 MiB of /);
  const signedManifest = await ground.manifest(signed.snapshot);
  assert.deepEqual([signedManifest.files.map(({ cryptMode }) => cryptMode), verifyManifestSignature(signedManifest, crypt)], [['sign-only', 'sign-only'], 'valid']);
  const plain = await ground.backUp(specs);
  assert.match(plain.stderr, /\nCouldn't re-use previous manifest - missing key - manifest was created with key 7a:24:be:e8:86:36:83:3c\n/);
  assert.ok((await ground.restored(plain.snapshot, 'disk.img')).equals(disk));
});

test('a default key turns encryption on, and only --crypt-mode none turns it off', async (t) => {
  const ground = await BackupGround.make(t);
  await writeFile(ground.path('a.conf'), 'cores: 2\n');
  const spec = `a.conf:${ground.path('a.conf')}`;
  const refused = async (...argv: string[]): Promise<string> => /^Error: (.*)$/m.exec((await ground.backUp([spec, ...argv])).stderr)?.[1] ?? 'none';
  const master = ['--master-pubkey-file', fixturePath('keys/master-public.pem')];
  assert.equal(await refused('--crypt-mode', 'encrypt'), '--crypt-mode without --keyfile and no default key file available');
  assert.equal(await refused('--crypt-mode', 'none', ...keyOptions), '--keyfile/--keyfd and --crypt-mode=none are mutually exclusive');
  assert.equal(await refused('--crypt-mode', 'none', ...master), '--master-pubkey-file/--master-pubkey-fd and --crypt-mode=none are mutually exclusive');
  assert.equal(await refused(...master), '--master-pubkey-file/--master-pubkey-fd specified, but no key available');
  assert.equal(await refused('--keyfile', '/nosuch'), 'unable to read "/nosuch" - No such file or directory (os error 2)');
  assert.equal(await refused('--master-pubkey-file', '/nosuch', ...keyOptions), 'unable to read "/nosuch" - No such file or directory (os error 2)');

  assert.equal((await ground.home.run(['key', 'create', '--kdf', 'none'])).exit, 0);
  assert.equal((await ground.home.run(['key', 'import-master-pubkey', fixturePath('keys/master-public.pem')])).exit, 0);
  const encrypted = await ground.backUp([spec]);
  assert.match(encrypted.stderr, /\nUsing default encryption key\.\.\nEncryption key fingerprint: .*\nUsing default master key\.\.\n/);
  assert.deepEqual((await ground.manifest(encrypted.snapshot)).files.map(({ cryptMode }) => cryptMode), ['encrypt', 'encrypt']);
  const plain = await ground.backUp([spec, '--crypt-mode', 'none']);
  assert.deepEqual((await ground.manifest(plain.snapshot)).files.map(({ cryptMode }) => cryptMode), ['none']);
});

test('sources that cannot be backed up are refused before anything starts', async (t) => {
  const ground = await BackupGround.make(t);
  await writeFile(ground.path('empty'), '');
  await writeFile(ground.path('a'), 'a');
  const { path } = ground.home;
  const refused = async (...argv: string[]): Promise<string> => {
    const run = await ground.backUp(argv);
    assert.equal(run.exit, 255);
    assert.doesNotMatch(run.stderr, /Starting/);
    return run.stderr.split('\n\nHint')[0]!.trim().split('\n').slice(0, 2).join('\n');
  };
  assert.equal(await refused(`e.img:${ground.path('empty')}`), `Error: got zero-sized file '${ground.path('empty')}'`);
  assert.equal(await refused('e.img:/nosuch'), "Error: unable to access '/nosuch' - No such file or directory (os error 2)");
  assert.equal(await refused('e.conf:-'), "If you are trying to read from stdin use '/dev/stdin' instead of '-'.\nError: unable to access '-' - No such file or directory (os error 2)");
  assert.equal(await refused(`e.img:${path}`), `Error: got unexpected file type (expected file, block device, or fifo): ${path}`);
  assert.equal(await refused(`e.conf:${path}`), 'Error: got unexpected file type (expected regular file)');
  assert.equal(await refused(`e.pxar:${ground.path('a')}`), 'Error: got unexpected file type (expected directory)');
  assert.equal(await refused(`e.img:${ground.path('a')}`, `e.img:${ground.path('a')}`), "Error: got target twice: 'e.img'");
  assert.equal((await refused('foo.blob:x')).split('\n')[0], "Error: parameter verification failed - 'backupspec': value does not match the regex pattern");
  assert.equal(await refused(`e.img:${ground.path('a')}`, '--chunk-size', '100'), "Error: Got unsupported chunk size '102400'");
});

test('a dry run says what it would do; a server that refuses, and an interrupt, leave no snapshot', async (t) => {
  const ground = await BackupGround.make(t);
  await writeFile(ground.path('disk'), randomBytes(9 * mib));
  const spec = `disk.img:${ground.path('disk')}`;
  const dry = await ground.backUp([spec, '--dry-run']);
  assert.equal(dry.exit, 0, dry.stderr);
  assert.match(dry.stderr, /\nWould upload image '.*disk' to '.*' as disk\.img\.fidx\ndry-run: no upload happened\n$/);
  const small = await ground.backUp([spec, '--chunk-size', '64']);
  assert.equal(/^Error: (.*)$/m.exec(small.stderr)?.[1], "fixed writer '1' - detected multiple end chunks (chunk size too small)");
  const old = await ground.home.run(['backup', spec, '--backup-id', 'plain', '--backup-time', '1760000000']);
  assert.equal(/^Error: (.*)$/m.exec(old.stderr)?.[1], 'backup timestamp is older than last backup.');
  const interrupted = await ground.backUp([spec, '--rate', '1MiB'], { onListen: (interrupt) => void setTimeout(interrupt, 700) });
  assert.deepEqual([interrupted.exit, /^Error: (.*)$/m.exec(interrupted.stderr)?.[1]], [255, 'interrupted']);
  // The server notices on its own time.
  for (let tries = 0; tries < 200 && existsSync(join(ground.server.path, 'host/new')) && (await readdir(join(ground.server.path, 'host/new'))).some((name) => name.endsWith('Z')); tries += 1) await new Promise((resolve) => void setTimeout(resolve, 20));
  assert.deepEqual((await ground.home.run(['snapshot', 'list', 'host/new', '--output-format', 'json'])).stdout, '[]\n');
});

test('namespaces, types and the name of this host', async (t) => {
  const ground = await BackupGround.make(t);
  await writeFile(ground.path('a.conf'), 'cores: 2\n');
  const spec = `a.conf:${ground.path('a.conf')}`;
  assert.equal((await ground.home.run(['namespace', 'create', 'new'])).exit, 0);
  const run = await ground.home.run(['backup', spec, '--ns', 'new', '--backup-type', 'vm', '--backup-time', '1770000000']);
  assert.equal(run.exit, 0, run.stderr);
  assert.match(run.stderr, /^Starting backup: \[new\]:vm\/laptop\/2026-02-02T02:40:00Z\n/);
  assert.equal((await ground.manifest('vm/laptop/2026-02-02T02:40:00Z', 'ns/new')).backupType, 'vm');
  const missing = await ground.home.run(['backup', spec, '--ns', 'nosuch']);
  assert.equal(missing.exit, 255);
});

test('a terminal sees rate and reused share; an image that shrinks is an error, one that grows is not', async (t) => {
  const ground = await BackupGround.make(t);
  const disk = randomBytes(9 * mib);
  await writeFile(ground.path('disk'), disk);
  let now = 1_790_000_000_000;
  const clock = { now: () => (now += 300) };
  const drawn = await ground.backUp([`disk.img:${ground.path('disk')}`], { drawsProgress: true, clock });
  const shown = drawn.stderr.split('\r\u001b[K');
  assert.match(shown[1]!, /^disk\.img: 44\.4% \(4 MiB of 9 MiB\).*, 0% reused$/);
  assert.match(shown.at(-1)!, /^disk\.img: had to backup 9 MiB/);

  const source = { name: 'disk', type: 'img', path: ground.path('disk'), size: 9 * mib, identity: '' } as const;
  await truncate(source.path, 5 * mib);
  const read = async (): Promise<string> => {
    const hash = createHash('sha256');
    for await (const chunk of imageChunks(source, new ChunkBuffers(4 * mib))) hash.update(chunk);
    return hash.digest('hex');
  };
  await assert.rejects(read(), /it ends after 5242880 bytes instead of 9437184: it was cut while it was read/);
  await writeFile(source.path, disk);
  await using handle = await open(source.path, 'a');
  await handle.write('more');
  assert.equal(await read(), createHash('sha256').update(disk).digest('hex'));
});
