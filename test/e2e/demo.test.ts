import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { datastoreFolder, FarshoreHost } from '../support/farshore-host.ts';

/** Longer than it may ever take on a machine that does other things, too. */
const limitMs = 300_000;

test('the demo does its job to the end and leaves nothing behind', async () => {
  await using folder = await datastoreFolder();
  const temporary = join(folder.path, 'tmp');
  mkdirSync(temporary, { mode: 0o755 });
  const outcome = await new FarshoreHost(join(folder.path, 'home')).run(['demo'], { limitMs, env: { TMPDIR: temporary } });
  const all = `${outcome.stdout}${outcome.stderr}`;
  assert.equal(outcome.code, 0, all);

  const sections = [...outcome.stdout.matchAll(/^== (\d+)\. (.*)$/gm)];
  assert.deepEqual(sections.map(([, number]) => Number(number)), Array.from({ length: 11 }, (_, n) => n + 1), all);
  const part = (number: number): string => outcome.stdout.slice(sections[number - 1]!.index, sections[number]?.index);

  assert.match(part(5), /the branch's server was killed with \d+ chunks in the copy/);
  assert.match(part(5), /^ +Summary: sync job pulled /m);
  assert.match(part(6), /Summary: sync job found no new data to pull/);
  assert.match(part(9), /healed: every chunk of the copy verifies again/);
  for (const restored of [/data\.img: SHA-256 [0-9a-f]+\.\.\. equals the original/, /drive-scsi0\.img: SHA-256 [0-9a-f]+\.\.\. equals the original/, /root\.pxar: \d+ entries, every field of every entry equals the original/]) {
    assert.match(part(10), restored);
  }
  assert.match(part(11), /An offsite copy of \d+ chunks: complete, verified, and restored from the far side\. Nothing was left behind/);
  assert.deepEqual(readdirSync(temporary), []);
});
