import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ClientHome, nobody, ScriptedPrompter } from '../../test/support/client-runs.ts';
import { clientPasswords, clientServer } from '../../test/support/client-server.ts';

const wrong = Array.from({ length: 32 }, () => 'aa').join(':');
const notConfirmed = 'certificate validation failed - Certificate fingerprint was not confirmed.\n';
const warning = (expected: string): string => `WARNING: certificate fingerprint does not match expected fingerprint!\nexpected:    ${expected}\n`;

suite('the certificate (spec client-cli 2.5)', () => {
  test('an unknown one is refused when nobody can be asked, with the way out', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    const run = await home.run(['list'], { env: { PBS_FINGERPRINT: null } });
    assert.equal(run.exit, 255);
    assert.ok(run.stderr.startsWith(`${notConfirmed}Error: client error (Connect)\n\nCaused by:\n`), run.stderr);
    assert.match(run.stderr, new RegExp(`Hint: compare ${server.fingerprint} with .* PBS_FINGERPRINT`));
  });

  test('the expected one is accepted in any case of letters, another one is not', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    assert.equal((await home.run(['list'], { env: { PBS_FINGERPRINT: server.fingerprint.toUpperCase() } })).exit, 0);
    for (const expected of [wrong, 'aa']) {
      const run = await home.run(['list'], { env: { PBS_FINGERPRINT: expected } });
      assert.equal(run.exit, 255);
      assert.ok(run.stderr.startsWith(`${warning(expected)}${notConfirmed}Error: client error (Connect)\n`), run.stderr);
    }
  });

  test('a person confirms: remembered, unless PBS_FINGERPRINT is set', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    const file = join(home.path, '.config/proxmox-backup/fingerprints');
    await mkdir(join(home.path, '.config/proxmox-backup'), { recursive: true });
    await writeFile(file, `no entry\nother ${wrong}\n127.0.0.1 ${wrong}\n`);
    const question = 'Are you sure you want to continue connecting? (y/n): ';
    const doubter = new ScriptedPrompter('what', 'n');
    const refused = await home.run(['list'], { env: { PBS_FINGERPRINT: null }, prompter: doubter });
    assert.deepEqual([refused.exit, doubter.asked], [255, [question, question]]);
    assert.ok(refused.stderr.startsWith(`${warning(wrong)}fingerprint: ${server.fingerprint}\n${notConfirmed}`), refused.stderr);

    assert.equal((await home.run(['list'], { prompter: new ScriptedPrompter('y'), env: { PBS_FINGERPRINT: wrong } })).exit, 0);
    assert.match(await readFile(file, 'utf8'), /^no entry/);

    assert.equal((await home.run(['list'], { prompter: new ScriptedPrompter('Y'), env: { PBS_FINGERPRINT: null } })).exit, 0);
    assert.equal(await readFile(file, 'utf8'), `other ${wrong}\n127.0.0.1 ${server.fingerprint}\n`);
    assert.equal((await home.run(['list'], { env: { PBS_FINGERPRINT: null } })).exit, 0);
  });

  test('one that is valid by itself needs no fingerprint, and no fingerprint makes it invalid', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    const env = { PBS_REPOSITORY: `admin@pbs@localhost:${server.port}:main` };
    for (const expected of [null, wrong]) {
      const run = await home.run(['list'], { env: { ...env, PBS_FINGERPRINT: expected }, trusted: [server.certificate] });
      assert.deepEqual([run.stderr, run.exit], ['', 0]);
    }
  });
});

suite('the password (spec client-cli 2.6)', () => {
  test('asked for once: the ticket stands for it until it is forgotten or too old', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    const env = { PBS_PASSWORD: null };
    const prompter = new ScriptedPrompter(clientPasswords['admin@pbs']);
    assert.equal((await home.run(['login'], { env, prompter })).exit, 0);
    assert.deepEqual(prompter.asked, ['secret: Password for "admin@pbs": ']);
    const file = join(home.path, 'run/proxmox-backup/tickets');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const { '127.0.0.1': ofHost } = JSON.parse(await readFile(file, 'utf8')) as Record<string, Record<string, { timestamp: number; ticket: string; token: string }>>;
    assert.deepEqual(Object.keys(ofHost!['admin@pbs']!).sort(), ['ticket', 'timestamp', 'token']);
    assert.match(ofHost!['admin@pbs']!.ticket, /^PBS:admin@pbs:/);

    assert.equal((await home.run(['list'], { env, prompter: nobody })).exit, 0);
    assert.deepEqual(await home.run(['logout'], { env }), { stdout: '', bytes: Buffer.alloc(0), stderr: '', exit: 0 });
    assert.equal((await home.run(['logout'], { env })).stderr, 'no ticket found for admin@pbs on server 127.0.0.1\n');
    assert.match((await home.run(['list'], { env })).stderr, /^Error: error building client for repository admin@pbs@127\.0\.0\.1:\d+:main - no password input mechanism available\n/);
  });

  test('a wrong one is refused and leaves no ticket; a secret never shows', async (t) => {
    const server = await clientServer(t);
    const home = await ClientHome.make(t, server);
    const run = await home.run(['login'], { env: { PBS_PASSWORD: 'not-this-one' } });
    assert.deepEqual([run.stdout, run.stderr, run.exit], ['', 'Error: permission check failed.\n', 255]);
    await assert.rejects(stat(join(home.path, 'run/proxmox-backup/tickets')), { code: 'ENOENT' });
  });
});
