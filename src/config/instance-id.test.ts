import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { loadInstanceId } from './instance-id.ts';

test('an installation has one id, its own, and keeps it', async (t) => {
  const [one, other] = [await temporaryInstallation(t), await temporaryInstallation(t)];
  const ids = await Promise.all([loadInstanceId(one), loadInstanceId(one), loadInstanceId(other)]);
  assert.match(ids[0], /^[0-9a-f]{32}$/);
  assert.equal(ids[1], ids[0], 'two at the same time');
  assert.notEqual(ids[2], ids[0]);
  assert.equal(await loadInstanceId(one), ids[0]);
});

test('a file that holds something else is not replaced', async (t) => {
  const paths = await temporaryInstallation(t);
  await writeFile(join(paths.state, 'instance-id'), 'cut');
  await assert.rejects(loadInstanceId(paths), { code: 'config.value' });
});
