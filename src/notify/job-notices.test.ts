import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { silentLog } from '../base/log.ts';
import type { DatastoreRecord } from '../config/datastore-config.ts';
import type { TaskResult } from '../schedule/worker-task.ts';
import { causeOf, DatastoreNotices } from './job-notices.ts';
import type { NotificationEvent } from './message.ts';

const good: TaskResult = { state: 'OK', endtime: 1 };
const warned: TaskResult = { state: 'Warning', count: 2, endtime: 1 };
const bad: TaskResult = { state: 'Error', message: 'disk broken', endtime: 1 };

/** What was told, and to whom: null is the matchers. */
function noticesOf(settings: Partial<DatastoreRecord>): { notices: DatastoreNotices; told: Array<{ to: string | null; event: NotificationEvent }> } {
  const told: Array<{ to: string | null; event: NotificationEvent }> = [];
  const notices = new DatastoreNotices({
    datastores: { find: (name) => (name === 'main' ? { name, path: '/x', ...settings } : undefined) },
    notifier: { notify: (event) => void told.push({ to: null, event }), notifyUser: (user, event) => void told.push({ to: user, event }) },
    clock: new ManualClock('2026-11-25T10:00:00Z'),
    log: silentLog,
  });
  return { notices, told };
}

const end = (result: TaskResult, store = 'main'): { store: string; upid: string; result: TaskResult } => ({ store, upid: 'UPID:x', result });

suite('events', () => {
  test('garbage collection', () => {
    const { notices, told } = noticesOf({});
    notices.garbageCollected(end(good), { upid: 'UPID:x', 'index-data-bytes': 1000, 'disk-bytes': 300, 'disk-chunks': 4 });
    notices.garbageCollected(end(good), { 'index-data-bytes': 0, 'disk-bytes': 0 });
    notices.garbageCollected(end(bad), null);
    const [first, empty, failed] = told.map(({ event }) => event);
    assert.deepEqual(first, {
      template: 'gc-ok',
      severity: 'info',
      fields: { type: 'gc', datastore: 'main' },
      data: { upid: 'UPID:x', 'index-data-bytes': 1000, 'disk-bytes': 300, 'disk-chunks': 4, 'deduplication-factor': '3.33', datastore: 'main' },
      time: Date.parse('2026-11-25T10:00:00Z') / 1000,
      cause: null,
    });
    assert.equal(empty?.data['deduplication-factor'], '0.00');
    assert.deepEqual([failed?.template, failed?.severity, failed?.data['error'], failed?.cause], ['gc-err', 'error', 'disk broken', 'gc main disk broken']);
  });

  test('prune, sync and verify jobs; warnings are a success', () => {
    const { notices, told } = noticesOf({});
    notices.pruned(end(warned), 'pj1');
    notices.synced(end(bad), { id: 'sj1', remote: 'hq', 'remote-store': 'other' });
    notices.synced(end(good), { id: 'sj2', 'remote-store': 'other' });
    notices.verified(end(bad), 'vj1', { failed: ['vm/1/x'], aborted: false });
    notices.verified(end(good), 'vj1', { failed: [], aborted: false });
    notices.verified(end(bad), 'vj1', { failed: [], aborted: true });
    assert.deepEqual(
      told.map(({ event: { template, fields, data } }) => ({ template, fields, remote: data['remote'], store: data['remote-datastore'], failed: data['failed-snapshot-list'] })),
      [
        { template: 'prune-ok', fields: { type: 'prune', datastore: 'main', 'job-id': 'pj1' }, remote: undefined, store: undefined, failed: undefined },
        { template: 'sync-err', fields: { type: 'sync', datastore: 'main', 'job-id': 'sj1' }, remote: 'hq', store: 'other', failed: undefined },
        { template: 'sync-ok', fields: { type: 'sync', datastore: 'main', 'job-id': 'sj2' }, remote: null, store: 'other', failed: undefined },
        { template: 'verify-err', fields: { type: 'verify', datastore: 'main', 'job-id': 'vj1' }, remote: undefined, store: undefined, failed: ['vm/1/x'] },
        { template: 'verify-ok', fields: { type: 'verify', datastore: 'main', 'job-id': 'vj1' }, remote: undefined, store: undefined, failed: undefined },
      ],
    );
  });

  test('ten thousand failed snapshots are one message of bearable length', () => {
    const { notices, told } = noticesOf({});
    notices.verified(end(bad), 'vj1', { failed: Array.from({ length: 10_000 }, (_, i) => `vm/${i}/x`), aborted: false });
    const list = told[0]!.event.data['failed-snapshot-list'] as string[];
    assert.equal(list.length, 201);
    assert.equal(list.at(-1), 'and 9800 more: see the task log');
  });

  test('the same cause is the same whatever was hit', () => {
    const cause = causeOf('unable to read chunk 0123456789abcdef0123456789abcdef of vm/100: I/O error (os error 5)');
    assert.equal(causeOf('unable to read chunk fedcba9876543210fedcba9876543210 of vm/23: I/O error (os error 5)'), cause);
    assert.notEqual(causeOf('connection refused'), cause);
    assert.equal(causeOf('task UPID:a:0001:x: failed'), causeOf('task UPID:b:0002:y: failed'));
  });
});

suite('mode legacy-sendmail', () => {
  const legacy = { 'notification-mode': 'legacy-sendmail' } as const;
  const outcomes = (settings: Partial<DatastoreRecord>): string[] => {
    const { notices, told } = noticesOf({ ...legacy, ...settings });
    for (const result of [good, bad]) {
      notices.garbageCollected(end(result), null);
      notices.pruned(end(result), 'p');
      notices.synced(end(result), { id: 's', 'remote-store': 'o' });
      notices.verified(end(result), 'v', { failed: [], aborted: false });
    }
    return told.map(({ to, event }) => `${to} ${event.template}`);
  };

  test('default: always, prune on errors only, to root', () => {
    assert.deepEqual(outcomes({}), ['gc-ok', 'sync-ok', 'verify-ok', 'gc-err', 'prune-err', 'sync-err', 'verify-err'].map((name) => `root@pam ${name}`));
  });

  test('as `notify` and `notify-user` say', () => {
    const settings = { notify: 'gc=never,prune=always,sync=error,verify=error', 'notify-user': 'alice@pbs' } as const;
    assert.deepEqual(outcomes(settings), ['prune-ok', 'prune-err', 'sync-err', 'verify-err'].map((name) => `alice@pbs ${name}`));
  });

  test('the settings do not count in the other mode, nor for a datastore that is gone', () => {
    const { notices, told } = noticesOf({ notify: 'gc=never' });
    notices.garbageCollected(end(good), null);
    notices.garbageCollected(end(good, 'gone'), null);
    assert.deepEqual(told.map(({ to }) => to), [null, null]);
  });
});
