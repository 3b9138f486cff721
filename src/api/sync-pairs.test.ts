import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../base/errors.ts';
import type { SyncJob } from '../config/job-config.ts';
import { crossing, refuseMutualRemoval } from './sync-pairs.ts';

const push: SyncJob = { id: 'one', 'sync-direction': 'push', store: 'a', remote: 'hq', 'remote-store': 'main' };
const other: SyncJob = { ...push, id: 'two', store: 'b' };
const same = (remote: string): string => remote;

function isRefused(job: SyncJob, ...others: SyncJob[]): boolean {
  try {
    refuseMutualRemoval(job, others);
    return false;
  } catch (e) {
    assert.equal(errorCode(e), 'config.sync-pair');
    return true;
  }
}

test('two jobs cross when they bring different things to one place', () => {
  assert.ok(crossing(push, other, same));
  assert.ok(crossing(push, { ...other, 'remote-ns': 'x' }, same), 'a tree and a branch of it');
  assert.ok(!crossing({ ...push, 'remote-ns': 'y' }, { ...other, 'remote-ns': 'x' }, same));
  assert.ok(!crossing({ ...push, 'max-depth': 0 }, { ...other, 'remote-ns': 'x' }, same), 'not so deep');
  assert.ok(!crossing(push, { ...push, id: 'two', ns: 'x', 'remote-ns': 'x' }, same), 'the same thing');
  assert.ok(crossing(push, { ...push, id: 'two', ns: 'z', 'remote-ns': 'x' }, same));
  assert.ok(!crossing(push, { ...other, remote: 'second' }, same));
  assert.ok(crossing(push, { ...other, remote: 'second' }, () => 'host:8007'), 'two entries for one server');
});

test('a job that would remove what another brings is refused, from both sides; at the start only the one that removes', () => {
  const remover = { ...push, 'remove-vanished': true };
  assert.ok(!isRefused(push, other));
  assert.ok(isRefused(remover, other));
  assert.ok(isRefused(other, remover));
  assert.ok(!isRefused(remover, remover), 'itself');
  assert.ok(isRefused(remover, { ...other, 'remote-ns': 'x' }), 'the namespace x would vanish');
  assert.ok(!isRefused({ ...remover, 'remote-ns': 'x' }, other), 'the other one brings nothing to x, as far as its configuration says');
  assert.doesNotThrow(() => refuseMutualRemoval(other, [remover], { running: true }));
  assert.throws(() => refuseMutualRemoval(remover, [other], { running: true }), /sync job 'one' has remove-vanished and would remove what sync job 'two' brings/);
  const { id: _id, ...once } = remover;
  assert.throws(() => refuseMutualRemoval(once, [other]), /this push has remove-vanished/);
});

test('filters that exclude each other protect only where no namespace can vanish', () => {
  const filtered = { ...push, 'remove-vanished': true, 'group-filter': ['type:vm'] };
  const theirs = { ...other, 'group-filter': ['type:ct', 'group:host/a'] };
  assert.ok(isRefused(filtered, theirs));
  assert.ok(!isRefused({ ...filtered, 'max-depth': 0 }, theirs));
  assert.ok(isRefused({ ...filtered, 'max-depth': 0 }, { ...theirs, 'group-filter': ['group:vm/100'] }));
  assert.ok(isRefused({ ...filtered, 'max-depth': 0 }, { ...theirs, 'group-filter': ['regex:^ct'] }));
});

test('pulls likewise; different owners protect groups', () => {
  const pull: SyncJob = { id: 'p', store: 'copy', remote: 'hq', 'remote-store': 'main', 'remove-vanished': true };
  const second: SyncJob = { ...pull, id: 'q', remote: 'branch', 'remove-vanished': false };
  assert.ok(isRefused(pull, second));
  assert.ok(!isRefused({ ...pull, 'max-depth': 0 }, { ...second, owner: 'other@pbs' }));
  assert.ok(!isRefused(pull, { ...second, ns: 'x', store: 'elsewhere' }));
});
