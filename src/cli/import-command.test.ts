import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { configFixtures, temporaryInstallation } from '../../test/support/installation.ts';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';
import { importCommand } from './import-command.ts';
import type { InstallationPaths } from '../config/home.ts';

async function sourceFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-import-'));
  t.after(async () => rm(folder, { recursive: true, force: true }));
  await cp(join(configFixtures, 'source'), folder, { recursive: true });
  return folder;
}

/** Every file below `folder` with content, mode and time. */
async function snapshotOf(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true })).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const stats = await stat(join(folder, name));
      return `${name} ${stats.mode} ${stats.mtimeMs} ${stats.isFile() ? await readFile(join(folder, name), 'hex') : ''}`;
    }),
  );
}

async function runImport(target: InstallationPaths, ...words: string[]): Promise<{ stdout: string; stderr: string; exit: number }> {
  return runWith(new CannedServer({}), ['import', ...words], { io: { commands: [importCommand(target)] } });
}

async function rowsOf(target: InstallationPaths, ...words: string[]): Promise<Map<string, { result: string; detail: string }>> {
  const { stdout } = await runImport(target, ...words, '--output-format', 'json');
  return new Map((JSON.parse(stdout) as Array<{ file: string; result: string; detail: string }>).map((row) => [row.file, row]));
}

test('a dry run says what would come and changes neither side', async (t) => {
  const [source, target] = [await sourceFolder(t), await temporaryInstallation(t)];
  await writeFile(join(source, 'tape.cfg'), '');
  const before = [await snapshotOf(source), await snapshotOf(target.config)];
  const rows = await rowsOf(target, source, '--dry-run');
  assert.equal(rows.get('user.cfg')?.result, 'would be taken over');
  assert.equal(rows.get('shadow.json')?.detail, '2 passwords');
  assert.deepEqual(rows.get('tape.cfg'), { file: 'tape.cfg', result: 'not taken over', detail: 'tape is not supported' });
  assert.deepEqual([await snapshotOf(source), await snapshotOf(target.config)], before);
});

test('everything comes byte for byte, secrets closed, and the source stays as it is', async (t) => {
  const [source, target] = [await sourceFolder(t), await temporaryInstallation(t)];
  await mkdir(join(source, 'notification-templates', 'default'), { recursive: true });
  await writeFile(join(source, 'notification-templates', 'default', 'test-body.txt.hbs'), 'own\n');
  await writeFile(join(source, '.user.lck'), '');
  const before = await snapshotOf(source);
  const run = await runImport(target, source);
  assert.deepEqual([run.exit, run.stderr], [0, '']);
  assert.deepEqual(await snapshotOf(source), before);
  for (const name of await readdir(join(configFixtures, 'source'))) assert.deepEqual(await readFile(join(target.config, name)), await readFile(join(source, name)), name);
  assert.equal(await readFile(join(target.config, 'notification-templates/default/test-body.txt.hbs'), 'utf8'), 'own\n');
  for (const name of ['shadow.json', 'token.shadow', 'authkey.key']) assert.equal((await stat(join(target.config, name))).mode & 0o777, 0o600, name);
  assert.equal((await stat(join(target.config, 'user.cfg'))).mode & 0o777, 0o640);
  const again = await rowsOf(target, source);
  assert.equal(again.get('user.cfg')?.result, 'here already');
  assert.equal(again.get('authkey.key')?.result, 'not taken over');
});

test('what is in the way keeps everything from coming', async (t) => {
  const [source, target] = [await sourceFolder(t), await temporaryInstallation(t)];
  await writeFile(join(target.config, 'user.cfg'), 'user: other@pbs\n');
  const before = await snapshotOf(target.config);
  const run = await runImport(target, source);
  assert.equal(run.exit, 255);
  assert.match(run.stderr, /^Error: nothing was taken over: user\.cfg: this server has one with other content\n/);
  assert.deepEqual(await snapshotOf(target.config), before);
});

test('files that cannot be read as configuration, and links, keep everything from coming', async (t) => {
  const [source, target] = [await sourceFolder(t), await temporaryInstallation(t)];
  await writeFile(join(source, 'sync.cfg'), 'sync: night\n\tnonsense\n');
  await rm(join(source, 'acl.cfg'));
  await symlink('/etc/passwd', join(source, 'acl.cfg'));
  const run = await runImport(target, source);
  assert.equal(run.exit, 255);
  assert.match(run.stderr, /sync\.cfg: parsing .* failed: line 2/);
  assert.match(run.stderr, /acl\.cfg: unable to read/);
  assert.deepEqual(await readdir(target.config), []);
});

test('the own folder and folders without configuration are refused', async (t) => {
  const target = await temporaryInstallation(t, 'source');
  assert.match((await runImport(target, target.config)).stderr, /is the configuration folder of this installation/);
  const empty = await temporaryInstallation(t);
  assert.match((await runImport(target, empty.config)).stderr, /is no configuration folder of a backup server/);
});

test('the key of the certificate comes with it or not at all', async (t) => {
  const [source, target] = [await sourceFolder(t), await temporaryInstallation(t)];
  await writeFile(join(source, 'proxy.pem'), 'certificate');
  assert.deepEqual((await rowsOf(target, source, '--dry-run')).get('proxy.pem'), { file: 'proxy.pem', result: 'not taken over', detail: 'proxy.key is missing' });
  await writeFile(join(source, 'proxy.key'), 'key');
  await writeFile(join(target.config, 'proxy.key'), 'own key');
  const rows = await rowsOf(target, source, '--dry-run');
  assert.deepEqual(['proxy.pem', 'proxy.key'].map((name) => rows.get(name)?.result), ['not taken over', 'not taken over']);
});
