import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { Deliveries } from './deliveries.ts';
import { Journals } from './journals.ts';

test('what a user delivered is remembered for him alone, for this datastore, with this size', async () => {
  await using folder = await temporaryFolder();
  const digest = createHash('sha256').update('chunk').digest();
  {
    using own = new Deliveries(new Journals(folder.path, silentLog).ofUploader('copy', 'push@pbs!one'));
    assert.equal(own.has(digest, 5), false);
    own.add(digest, 5);
    assert.equal(own.has(digest, 5), true);
  }
  const journals = new Journals(folder.path, silentLog);
  const asked = (store: string, authId: string, size: number): boolean => {
    using deliveries = new Deliveries(journals.ofUploader(store, authId));
    return deliveries.has(digest, size);
  };
  assert.equal(asked('copy', 'push@pbs!one', 5), true);
  assert.equal(asked('copy', 'push@pbs!one', 6), false);
  assert.equal(asked('copy', 'push@pbs!two', 5), false);
  assert.equal(asked('copy', 'push@pbs', 5), false);
  assert.equal(asked('other', 'push@pbs!one', 5), false);
});
