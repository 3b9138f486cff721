import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { lstat, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { BackupGround } from '../../test/support/backup-ground.ts';
import { fixturePath, goldenPassphrase, readFixture } from '../../test/support/golden.ts';
import { changeRandomTree, describeTree, testSeed, writeRandomTree } from '../../test/support/random-tree.ts';

/** Directory trees to a whole server and back. */

const modes = ['legacy', 'data', 'metadata'] as const;
const keyOptions = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];
const keyEnvironment = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };

function errorOf(stderr: string): string {
  return /^Error: (.*)$/m.exec(stderr)?.[1] ?? stderr;
}

async function restoredTree(ground: BackupGround, snapshot: string, argv: string[] = []): Promise<string[]> {
  const target = ground.path('restored');
  rmSync(target, { recursive: true, force: true });
  const run = await ground.home.run(['restore', snapshot, 'root.pxar', target, ...argv], { env: keyEnvironment });
  assert.equal(run.exit, 0, run.stderr);
  return describeTree(target);
}

suite('a random tree comes back as it was, also when it has changed', () => {
  for (const mode of modes) {
    for (const key of [[], keyOptions]) {
      test(`${mode}${key.length > 0 ? ', encrypted' : ''}`, async (t) => {
        const seed = testSeed();
        t.diagnostic(`seed ${seed}`);
        const ground = await BackupGround.make(t);
        const tree = ground.path('tree');
        mkdirSync(tree);
        writeRandomTree(tree, seed);
        const specs = [`root.pxar:${tree}`, '--change-detection-mode', mode, ...key];
        const first = await ground.backUp(specs, { env: keyEnvironment });
        assert.equal(first.exit, 0, first.stderr);
        const before = describeTree(tree);
        assert.deepEqual(await restoredTree(ground, first.snapshot, key), before);
        changeRandomTree(tree, seed);
        const second = await ground.backUp(specs, { env: keyEnvironment });
        assert.equal(second.exit, 0, second.stderr);
        assert.deepEqual(await restoredTree(ground, second.snapshot, key), describeTree(tree));
        assert.deepEqual(await restoredTree(ground, first.snapshot, key), before);
        const names = (await ground.manifest(second.snapshot)).files.map(({ filename }) => filename);
        assert.deepEqual(names, mode === 'legacy' ? ['root.pxar.didx', 'catalog.pcat1.didx'] : ['root.ppxar.didx', 'root.mpxar.didx']);
        if (mode === 'metadata') {
          assert.match(second.stderr, /\nUsing previous index as metadata reference for 'root\.mpxar\.didx'\nChange detection summary:\n/);
          // Of some trees so much has changed that no chunk is worth it.
          const isReused = !/\n - 0 unchanged, reusable files/.test(second.stderr);
          assert.equal(/\nroot\.ppxar: reused .* from previous snapshot for unchanged files \([0-9]+ chunks\)\n/.test(second.stderr), isReused, second.stderr);
        }
        const third = await ground.backUp(specs, { env: keyEnvironment });
        const archive = mode === 'legacy' ? 'root.pxar' : 'root.ppxar';
        assert.match(third.stderr, new RegExp(`\n${archive.replace('.', '\\.')}: had to backup [0-9]+ B of `));
        const verified = await ground.home.run(['catalog', 'dump', third.snapshot, ...key], { env: keyEnvironment });
        assert.equal(verified.exit, 0, verified.stderr);
        assert.match(verified.stderr, /^f ".\/root\.m?pxar\.didx\/not-utf8-\\xFF\\xFE" 10 /m);
      });
    }
  }
});

test('a change of mode or key is no reference, and is said', async (t) => {
  const ground = await BackupGround.make(t);
  const tree = ground.path('tree');
  mkdirSync(tree);
  writeRandomTree(tree, 7, { size: 100_000, files: 5 });
  const specs = [`root.pxar:${tree}`, '--change-detection-mode', 'metadata'];
  await ground.backUp([`root.pxar:${tree}`]);
  const afterUnified = await ground.backUp(specs);
  assert.match(afterUnified.stderr, /Previous manifest does not contain an archive called 'root\.mpxar\.didx', skipping download\.\.\nPrevious manifest does not contain an archive called 'root\.ppxar\.didx'/);
  await ground.backUp([...specs, ...keyOptions], { env: keyEnvironment });
  const signed = await ground.backUp([...specs, ...keyOptions, '--crypt-mode', 'sign-only'], { env: keyEnvironment });
  assert.match(signed.stderr, /\nCrypt mode mismatch, continue without reference\n/);
  assert.deepEqual(await restoredTree(ground, signed.snapshot, keyOptions), describeTree(tree));
});

test('what is left out, and what is restored of it', async (t) => {
  const ground = await BackupGround.make(t);
  const tree = ground.path('tree');
  for (const path of ['a.log', 'keep/b.txt', 'keep/c.log', 'lost+found/x', 'other/b.txt']) {
    mkdirSync(join(tree, path, '..'), { recursive: true });
    writeFileSync(join(tree, path), path);
  }
  const spec = `root.pxar:${tree}`;
  for (const mode of modes) {
    const run = await ground.backUp([spec, '--change-detection-mode', mode, '--exclude', '*.log', '--exclude', './/nothing', '--skip-lost-and-found']);
    assert.equal(run.exit, 0, run.stderr);
    assert.match(run.stderr, /^Sanitized exclude pattern\. /);
    const target = ground.path(`to-${mode}`);
    assert.equal((await ground.home.run(['restore', run.snapshot, 'root.pxar', target])).exit, 0);
    assert.deepEqual(readdirSync(target).filter((name) => name !== '.pxarexclude-cli').sort(), ['keep', 'other']);
    const some = ground.path(`some-${mode}`);
    assert.equal((await ground.home.run(['restore', run.snapshot, 'root.pxar', some, '--pattern', 'keep/**'])).exit, 0);
    assert.deepEqual([readdirSync(some), readdirSync(join(some, 'keep'))], [['keep'], ['b.txt']]);

    const again = ['restore', run.snapshot, 'root.pxar', target];
    const refused = await ground.home.run(again);
    assert.equal(errorOf(refused.stderr), 'error extracting archive');
    assert.match(refused.stderr, /File exists|EEXIST/);
    assert.equal(errorOf((await ground.home.run([...again, '--allow-existing-dirs'])).stderr), 'error extracting archive');
    writeFileSync(join(target, 'keep/b.txt'), 'changed');
    assert.equal((await ground.home.run([...again, '--allow-existing-dirs', '--overwrite'])).exit, 0);
    assert.equal(String(await readFile(join(target, 'keep/b.txt'))), 'keep/b.txt');
    if (mode === 'legacy') continue;
    const prelude = ground.path(`prelude-${mode}`);
    assert.equal((await ground.home.run(['restore', run.snapshot, 'root.pxar', ground.path(`p-${mode}`), '--prelude-target', prelude])).exit, 0);
    assert.match(String(await readFile(prelude)), /"exclude-patterns":"\*\.log\\n/);
  }
  assert.equal(errorOf((await ground.backUp([spec, '--include-dev', tree, '--all-file-systems'])).stderr), "option 'all-file-systems' conflicts with option 'include-dev'");
  assert.equal(errorOf((await ground.backUp([spec, '--include-dev', '/nosuch'])).stderr), 'fstat "/nosuch" failed - ENOENT: No such file or directory');
  assert.match(errorOf((await ground.backUp([spec, '--exclude', '['])).stderr), /^invalid exclude pattern entry: /);
  assert.match(errorOf((await ground.backUp([spec, '--entries-max', '2'])).stderr), /^exceeded allowed number of file entries \(> 2\)/);
});

test('attributes can be left out of a restore', async (t) => {
  const ground = await BackupGround.make(t);
  const tree = ground.path('tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'f'), 'x', { mode: 0o640 });
  const { snapshot } = await ground.backUp([`root.pxar:${tree}`]);
  const target = ground.path('to');
  assert.equal((await ground.home.run(['restore', snapshot, 'root.pxar', target, '--ignore-permissions', '--ignore-ownership', '--ignore-acls', '--ignore-xattrs'])).exit, 0);
  assert.equal((await stat(join(target, 'f'))).mode & 0o777, 0o600);
  assert.equal((await lstat(join(target, 'f'))).mtimeMs, (await lstat(join(tree, 'f'))).mtimeMs);
});

test('several trees have one catalog; a tree that fails leaves no snapshot', async (t) => {
  const ground = await BackupGround.make(t);
  for (const name of ['one', 'two']) {
    mkdirSync(ground.path(name));
    writeFileSync(join(ground.path(name), 'f'), name);
  }
  const run = await ground.backUp([`one.pxar:${ground.path('one')}`, `two.pxar:${ground.path('two')}`]);
  assert.match(run.stderr, /\nUploaded backup catalog \([0-9]+ B\)\n/);
  const dumped = (await ground.home.run(['catalog', 'dump', run.snapshot])).stderr;
  assert.deepEqual(dumped.replaceAll(/ [0-9]+ \d{4}-.*Z$/gm, '').trim().split('\n'), ['d "./one.pxar.didx"', 'f "./one.pxar.didx/f"', 'd "./two.pxar.didx"', 'f "./two.pxar.didx/f"']);
  const failed = await ground.backUp([`one.pxar:${ground.path('one')}`, 'proc.pxar:/proc']);
  assert.equal(errorOf(failed.stderr), 'refusing to backup a virtual file system');
  for (let tries = 0; tries < 200 && existsSync(join(ground.server.path, failed.snapshot)); tries += 1) await new Promise((resolve) => void setTimeout(resolve, 20));
  assert.ok(!existsSync(join(ground.server.path, failed.snapshot)));
});

test('the catalogs of the golden backups are listed as the reference lists them', async (t) => {
  const { home } = await BackupGround.make(t);
  const plain = await home.run(['catalog', 'dump', 'host/plain/2025-10-10T08:53:20Z']);
  assert.deepEqual([plain.stderr, plain.stdout, plain.exit], [String(readFixture('expected/catalog-plain.txt')), '', 0]);
  const split = await home.run(['catalog', 'dump', 'host/split/2025-10-10T09:53:20Z']);
  const names = (text: string): string[] => [...text.matchAll(/^([a-z]) "\.\/root\.m?pxar\.didx\/(.*)"/gm)].map((match) => `${match[1]} ${match[2]}`);
  assert.equal(split.exit, 0, split.stderr);
  assert.deepEqual(names(split.stderr).filter((name) => names(plain.stderr).includes(name)).length > 400, true);
  const none = await home.run(['catalog', 'dump', 'vm/100/2025-10-10T09:00:00Z']);
  assert.equal(errorOf(none.stderr), "manifest does not contain file 'catalog.pcat1.didx'");
  assert.equal(errorOf((await home.run(['catalog', 'dump', 'host/plain'])).stderr), "unable to parse backup snapshot path 'host/plain'");
  const crypt = await home.run(['catalog', 'dump', 'host/crypt/2025-10-10T08:56:40Z', ...keyOptions], { env: keyEnvironment });
  assert.match(crypt.stderr, /^d "\.\/root\.pxar\.didx"\n/);
  assert.match(errorOf((await home.run(['catalog', 'dump', 'host/crypt/2025-10-10T08:56:40Z'])).stderr), /^missing key - manifest was created with key/);
});
