import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { FreshnessAlarm } from '../freshness/watch.ts';
import { freshnessNotices } from './freshness-notices.ts';
import type { NotificationEvent } from './message.ts';

test('a contract that is broken is an error, one that holds again a notice', async () => {
  const told: NotificationEvent[] = [];
  const alarms = freshnessNotices({ notifier: { notify: (event) => void told.push(event) }, clock: new ManualClock('2026-11-25T10:00:00Z') });
  const alarm = { contract: { id: 'nightly', store: 'main' }, judgement: { text: 'newest copy is 30h old' }, since: 1 } as FreshnessAlarm;
  await alarms.raise(alarm);
  await alarms.clear(alarm);
  const fields = { type: 'freshness', datastore: 'main', contract: 'nightly' };
  assert.deepEqual(
    told.map((event) => [event.template, event.severity, event.fields, event.data['reason'], event.time]),
    [
      ['freshness-err', 'error', fields, 'newest copy is 30h old', 1_795_600_800],
      ['freshness-ok', 'notice', fields, 'newest copy is 30h old', 1_795_600_800],
    ],
  );
});
