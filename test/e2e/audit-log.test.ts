import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreHost } from '../support/farshore-host.ts';

/** The real program: what a server and commands without one write is one chain, a kill breaks nothing, and a copy can be checked anywhere. */
test('the audit log over servers, a kill, and commands without a server', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-audit-e2e-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const home = join(folder, 'home');
  await using host = new FarshoreHost(home);
  await host.ok('user', 'create', 'before@pbs');
  await host.start();
  await host.ok('user', 'create', 'during@pbs', '--password', 'secret words');
  await host.stop('SIGKILL');
  await host.start();
  await host.ok('user', 'remove', 'during@pbs');
  const lines = (await host.json('audit', 'list', '--limit', '100')) as Array<{ event: string; auth: string; address: string; method?: string; parameters?: Record<string, unknown> }>;
  assert.deepEqual(lines.toReversed().map(({ event, auth, address, method, parameters }) => [event, auth, address, method, parameters?.['userid']]), [
    ['call', 'root@pam', 'unix', 'POST', 'before@pbs'],
    ['start', '', 'local', undefined, undefined],
    ['call', 'root@pam', 'unix', 'POST', 'during@pbs'],
    ['start', '', 'local', undefined, undefined],
    ['call', 'root@pam', 'unix', 'DELETE', 'during@pbs'],
  ]);
  const verified = await host.ok('audit', 'verify');
  assert.match(verified, /^Intact: 5 lines in 1 file, number 1 \(.*\) to 5 \(.*\)\n/);
  const hash = /note elsewhere: ([0-9a-f]{64})\n/.exec(verified)![1]!;
  await host.stop();

  const copy = join(folder, 'copy');
  await cp(join(home, 'log', 'audit'), copy, { recursive: true });
  const elsewhere = new FarshoreHost(join(folder, 'elsewhere'));
  assert.match(await elsewhere.ok('audit', 'verify', copy, '--contains', hash), /^Intact: 6 lines[^]*The noted hash is there/);
  const file = join(copy, (await readdir(copy)).find((name) => name.endsWith('.jsonl'))!);
  const text = await readFile(file, 'utf8');
  assert.ok(!text.includes('secret words'));
  await writeFile(file, text.replace('"userid":"during@pbs"', '"userid":"nobody@pbs"'));
  const changed = await elsewhere.run(['audit', 'verify', file]);
  assert.equal(changed.code, 1);
  assert.match(changed.stdout, /^First bad line: audit-000000000001\.jsonl line 3: the content does not match the hash: the line was changed\nGood before it: 2 lines/);
  await writeFile(file, text.split('\n').slice(0, 4).join('\n').concat('\n'));
  const cut = await elsewhere.run(['audit', 'verify', copy, '--contains', hash]);
  assert.equal(cut.code, 1);
  assert.match(cut.stdout, /The noted hash is NOT there/);
  assert.equal((await elsewhere.run(['audit', 'verify', join(folder, 'nowhere')])).code, 255);
});
