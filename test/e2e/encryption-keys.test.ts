import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { datastoreFolder, FarshoreHost } from '../support/farshore-host.ts';
import { readFixture } from '../support/golden.ts';

test('keys are made, taken, listed, archived and removed by the manager; a key is printed once', async () => {
  await using folder = await datastoreFolder();
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await host.start();
  const printed = await host.ok('encryption-key', 'create', 'vault');
  const made = JSON.parse(printed.split('\n').find((line) => line.startsWith('{'))!) as { data: string; fingerprint: string };
  const given = join(folder.path, 'given.key');
  writeFileSync(given, readFixture('keys/kdf-none.key'));
  const taken = await host.ok('encryption-key', 'create', 'theirs', '--key-file', given);
  const { data, fingerprint } = JSON.parse(readFixture('keys/kdf-none.key').toString()) as { data: string; fingerprint: string };
  assert.ok(!taken.includes(data));

  const list = async (...more: string[]): Promise<Array<{ id: string; fingerprint: string }>> => JSON.parse(await host.ok('encryption-key', 'list', '--output-format', 'json', ...more)) as Array<{ id: string; fingerprint: string }>;
  assert.deepEqual((await list()).map((key) => [key.id, key.fingerprint]), [['vault', made.fingerprint], ['theirs', fingerprint]]);
  assert.ok(!JSON.stringify(await list()).includes(made.data));
  await host.ok('encryption-key', 'archive', 'theirs');
  assert.deepEqual((await list()).map(({ id }) => id), ['vault']);
  assert.deepEqual((await list('--include-archived', 'true')).map(({ id }) => id), ['vault', 'theirs']);
  await host.ok('encryption-key', 'remove', 'theirs');
  assert.deepEqual((await list('--include-archived', 'true')).map(({ id }) => id), ['vault']);
});
