import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ClientHome } from '../../test/support/client-runs.ts';
import { clientServer } from '../../test/support/client-server.ts';
import { recordedUsage, usageBlock } from '../../test/support/usage-blocks.ts';
import { commandsBelow } from '../terminal/command.ts';
import { clientTree } from './main.ts';

/** Options that the reference does not have. */
const additions = new Set(['namespace delete --dry-run', 'snapshot forget --dry-run', 'group forget --dry-run', 'restore --ignore-corrupt-chunks', 'restore --ignore-missing-chunks']);

/** Commands that the reference does not have. */
const ownCommands = new Set(['completion', 'diff']);

suite('commands have the options, types and defaults of the reference', () => {
  const program = 'proxmox-backup-client';
  const blocks = recordedUsage(program);
  for (const command of commandsBelow(clientTree())) {
    const name = command.words.join(' ');
    if (ownCommands.has(name)) continue;
    test(name, () => assert.deepEqual(usageBlock(program, command, (option) => additions.has(`${name} --${option}`)), blocks.get(name)));
  }
});

test('no parameter needs a check that only a server has', () => {
  for (const command of commandsBelow(clientTree())) {
    for (const [name, schema] of Object.entries(command.parameters.properties as Record<string, { format?: string; items?: { format?: string } }>)) {
      assert.equal(schema.format ?? schema.items?.format, undefined, `${command.words.join(' ')} ${name}`);
    }
  }
});

test('version: without a repository, with one, with one that is not reached', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  assert.deepEqual(await home.run(['version'], { env: { PBS_REPOSITORY: null } }), { stdout: 'client version: 1.2.3\n', bytes: Buffer.alloc(0), stderr: '', exit: 0 });
  assert.equal((await home.run(['version'])).stdout, 'client version: 1.2.3\nserver version: 4.2.3\n');
  const json = JSON.parse((await home.run(['version', '--output-format', 'json'])).stdout) as Record<string, { version: string; release: string }>;
  assert.deepEqual([json['client']?.version, json['client']?.release, json['server']?.version, json['server']?.release], ['1.2', '3', '4.2', '3']);
  const refused = await home.run(['version'], { env: { PBS_PASSWORD: 'wrong' } });
  assert.deepEqual([refused.stdout, refused.stderr, refused.exit], ['client version: 1.2.3\n', 'could not connect to server - permission check failed.\n', 0]);
  const nobody = await home.run(['version'], { env: { PBS_REPOSITORY: '127.0.0.1:1:main' } });
  assert.match(nobody.stderr, /^could not connect to server - client error \(Connect\): 127\.0\.0\.1:1 refuses the connection: .*\n$/);
  assert.match((await home.run(['list'], { env: { PBS_REPOSITORY: '127.0.0.1:1:main' } })).stderr, /^Error: client error \(Connect\)\n\nCaused by:\n.*127\.0\.0\.1:1 refuses the connection\n/);
  const odd = await home.run(['version', '--repository', 'main', '--server', 'x']);
  assert.deepEqual([odd.stdout, odd.exit], ['client version: 1.2.3\n', 0]);
});

test('a token works, and so does a password from a file, a command or a descriptor; the use of a repository is counted', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  const repository = `admin@pbs!tok@127.0.0.1:${server.port}:main`;
  const env = { PBS_REPOSITORY: repository };
  assert.equal((await home.run(['list'], { env: { ...env, PBS_PASSWORD: server.tokenSecret } })).exit, 0);
  assert.equal((await home.run(['list'], { env: { ...env, PBS_PASSWORD: 'wrong' } })).exit, 255);
  assert.equal((await home.run(['list'], { env: { ...env, PBS_PASSWORD: null, PBS_PASSWORD_CMD: `echo ${server.tokenSecret}` } })).exit, 0);
  assert.equal((await home.run(['logout'], { env })).stderr, 'no ticket found for server 127.0.0.1\n');
  assert.deepEqual(JSON.parse(await readFile(join(home.path, '.cache/proxmox-backup/repo-list'), 'utf8')), { [repository]: 3 });
  // A token leaves no ticket behind.
  assert.deepEqual(await readdir(join(home.path, 'run')), []);
});

test('completion of words and options', async (t) => {
  const home = await ClientHome.make(t, null);
  const complete = async (line: string): Promise<string[]> => (await home.run(['bashcomplete'], { completion: { line, point: String(line.length) } })).stdout.split('\n').slice(0, -1);
  assert.deepEqual(await complete('farshore-client log'), ['login', 'logout']);
  assert.deepEqual(await complete('farshore-client snapshot f'), ['files', 'forget']);
  assert.deepEqual(await complete('farshore-client restore vm/100 --key'), ['--keyfd', '--keyfile']);
  assert.deepEqual(await complete('farshore-client restore --crypt-mode s'), ['sign-only']);
});

test('completion of what a server holds', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  const complete = async (line: string): Promise<string[]> => {
    const run = await home.run(['bashcomplete'], { completion: { line, point: String(line.length) } });
    assert.deepEqual([run.stderr, run.exit], ['', 0]);
    return run.stdout.split('\n').slice(0, -1).sort();
  };
  const plain = ['host/plain/2025-10-09T08:53:20Z', 'host/plain/2025-10-10T08:53:20Z'];
  assert.deepEqual(await complete('farshore-client snapshot files host/pl'), plain);
  assert.deepEqual(await complete('farshore-client restore host/pl'), ['host/plain', ...plain]);
  assert.deepEqual(await complete(`farshore-client restore ${plain[0]} ro`), ['root.pxar']);
  assert.deepEqual(await complete('farshore-client restore vm/100 '), ['drive-scsi0.img', 'index.json', 'qemu-server.conf'].sort());
  assert.deepEqual(await complete('farshore-client group forget --ns site-a '), ['ct/200']);
  assert.deepEqual(await complete('farshore-client list --ns s'), ['site-a', 'site-a/dept-b']);
  assert.deepEqual(await complete(`farshore-client list --repository a`), [`admin@pbs@127.0.0.1:${server.port}:main`]);
  assert.deepEqual(await complete('farshore-client diff host/plain host/p'), ['host/plain', ...plain]);
  // Nobody is asked for a password, and no message is drawn into the line.
  const locked = await home.run(['bashcomplete'], { env: { PBS_PASSWORD: null, XDG_RUNTIME_DIR: null }, completion: { line: 'farshore-client list --ns s', point: '27' } });
  assert.deepEqual([locked.stdout, locked.stderr, locked.exit], ['', '', 0]);
});
