import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plainPolicy } from '../../test/support/sync-pair.ts';
import { parseGroupFilter } from './group-filter.ts';
import { planGroup, planNamespace, type IsUnchanged, type KeptTimes } from './plan.ts';
import type { ReplicationPolicy } from './policy.ts';
import type { ListedFile, SourceSnapshot, TargetGroup, TargetSnapshot } from './ports.ts';

const group = { type: 'vm', id: '100' } as const;
const plainFiles: ListedFile[] = [
  { filename: 'disk.img.fidx', cryptMode: 'none', size: 10 },
  { filename: 'index.json.blob', cryptMode: 'none', size: 5 },
];
const encryptedFiles: ListedFile[] = [
  { filename: 'disk.img.fidx', cryptMode: 'encrypt', size: 10 },
  { filename: 'client.log.blob', cryptMode: null, size: null },
  { filename: 'index.json.blob', cryptMode: 'sign-only', size: 5 },
];

function source(time: number, change: Partial<SourceSnapshot> = {}): SourceSnapshot {
  return { ...group, time, size: 15, files: plainFiles, verifyState: null, fingerprint: Buffer.alloc(32, time % 251), ...change };
}

function copy(time: number, change: Partial<TargetSnapshot> = {}): TargetSnapshot {
  return { ...group, time, finished: true, protected: false, corrupt: false, ...change };
}

function target(snapshots: TargetSnapshot[], owner = 'root@pam'): TargetGroup {
  return { ...group, owner, snapshots };
}

const never = (): boolean => false;
const steps = (snapshots: SourceSnapshot[], existing: TargetSnapshot[] | undefined, change: Partial<ReplicationPolicy> = {}, unchanged: IsUnchanged = never): string[] =>
  planGroup(group, snapshots, existing === undefined ? undefined : target(existing), { ...plainPolicy, ...change }, unchanged).steps.map((step) => `${step.action} ${step.snapshot.time}`);

test('an empty target gets everything, oldest first', () => {
  assert.deepEqual(steps([source(3), source(1), source(2)], undefined), ['new 1', 'new 2', 'new 3']);
});

test('older than the newest copy is skipped, the newest is checked, later ones are new', () => {
  assert.deepEqual(steps([source(1), source(2), source(3)], [copy(2)]), ['check 2', 'new 3']);
  assert.deepEqual(steps([source(1), source(2), source(3)], [copy(2)], {}, (snapshot) => snapshot.time === 2), ['new 3']);
});

test('an unfinished copy does not count as the newest', () => {
  assert.deepEqual(steps([source(1), source(2)], [copy(1), copy(2, { finished: false })]), ['check 1', 'new 2']);
});

test('in progress, unverified and unencrypted snapshots are skipped with their reason', () => {
  const plan = planGroup(
    group,
    [source(1, { size: null }), source(2, { verifyState: 'failed' }), source(3, { verifyState: 'ok' }), source(4, { verifyState: 'ok', files: encryptedFiles })],
    undefined,
    { ...plainPolicy, verifiedOnly: true, encryptedOnly: true },
    never,
  );
  assert.deepEqual(plan.steps.map((step) => step.snapshot.time), [4]);
  assert.deepEqual(plan.skipped.map((skipped) => `${skipped.snapshot.time} ${skipped.reason}`), ['1 in progress', '2 not verified', '3 not encrypted']);
});

test('transfer-last counts what the filters leave, synced ones included', () => {
  assert.deepEqual(steps([source(1), source(2), source(3), source(4)], undefined, { transferLast: 2 }), ['new 3', 'new 4']);
  assert.deepEqual(steps([source(1), source(2), source(3), source(4)], [copy(1)], { transferLast: 2 }), ['check 1', 'new 3', 'new 4']);
});

test('resync-corrupt takes a corrupt copy whatever its age', () => {
  assert.deepEqual(steps([source(1), source(2), source(3)], [copy(1, { corrupt: true }), copy(2), copy(3)], { resyncCorrupt: true }, () => true), ['repair 1']);
  assert.deepEqual(steps([source(1), source(2)], [copy(1, { corrupt: true }), copy(2)], {}, () => true), []);
});

test('vanished is only what the source does not list at all', () => {
  const plan = planGroup(group, [source(1, { verifyState: 'failed' }), source(2, { size: null }), source(4)], target([copy(1), copy(2), copy(3), copy(4)]), { ...plainPolicy, verifiedOnly: true, removeVanished: true }, never);
  assert.deepEqual(plan.vanished.map((snapshot) => snapshot.time), [3]);
});

test('without remove-vanished nothing vanishes', () => {
  const plan = planNamespace({ groups: [], snapshots: [] }, [target([copy(1)])], plainPolicy, never);
  assert.deepEqual([plan.vanishedGroups, plan.groups], [[], []]);
});

test('vanished groups: own ones that pass the filters', () => {
  const foreign: TargetGroup = { type: 'vm', id: '7', owner: 'alice@pbs', snapshots: [] };
  const container: TargetGroup = { type: 'ct', id: '8', owner: 'root@pam', snapshots: [] };
  const token: TargetGroup = { type: 'vm', id: '9', owner: 'root@pam!t', snapshots: [] };
  const plan = planNamespace({ groups: [group], snapshots: [source(1)] }, [target([]), foreign, container, token], { ...plainPolicy, removeVanished: true, groupFilters: [parseGroupFilter('type:vm')] }, never);
  assert.deepEqual(plan.vanishedGroups.map((one) => one.id), ['9']);
  assert.deepEqual([plan.groups.length, plan.totalGroups], [1, 1]);
});

test('groups run in the order of their names: type, then number', () => {
  const plan = planNamespace(
    { groups: [{ type: 'vm', id: '20' }, { type: 'vm', id: '3' }, { type: 'host', id: 'b' }, { type: 'ct', id: '9' }], snapshots: [] },
    [],
    plainPolicy,
    never,
  );
  assert.deepEqual(plan.groups.map((one) => `${one.group.type}/${one.group.id}`), ['ct/9', 'host/b', 'vm/3', 'vm/20']);
});

test('property: every listed snapshot is a step or skipped, never both, and steps ascend', () => {
  const snapshot = fc.record({ time: fc.integer({ min: 1, max: 30 }), size: fc.option(fc.nat(), { nil: null }), verifyState: fc.constantFrom('ok' as const, 'failed' as const, null) });
  fc.assert(
    fc.property(
      fc.uniqueArray(snapshot, { selector: (one) => one.time }),
      fc.uniqueArray(fc.record({ time: fc.integer({ min: 1, max: 30 }), finished: fc.boolean(), corrupt: fc.boolean() }), { selector: (one) => one.time }),
      fc.record({ verifiedOnly: fc.boolean(), resyncCorrupt: fc.boolean(), removeVanished: fc.boolean(), transferLast: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }) }),
      (listed, existing, change) => {
        const plan = planGroup(group, listed.map((one) => source(one.time, one)), target(existing.map((one) => copy(one.time, one))), { ...plainPolicy, ...change }, never);
        const times = plan.steps.map((step) => step.snapshot.time);
        assert.deepEqual(times, times.toSorted((a, b) => a - b));
        assert.deepEqual([...times, ...plan.skipped.map((skipped) => skipped.snapshot.time)].toSorted((a, b) => a - b), listed.map((one) => one.time).toSorted((a, b) => a - b));
        for (const gone of plan.vanished) assert.ok(!listed.some((one) => one.time === gone.time));
      },
    ),
  );
});

const keepLast = (count: number): KeptTimes => (candidates) => new Set(candidates.map(({ time }) => time).toSorted((a, b) => b - a).slice(0, count));
const filled = (snapshots: SourceSnapshot[], existing: TargetSnapshot[], kept: KeptTimes, change: Partial<ReplicationPolicy> = {}): string[] =>
  planGroup(group, snapshots, target(existing), { ...plainPolicy, ...change }, never, kept).steps.map((step) => `${step.action} ${step.snapshot.time}`);

test('with backfill, what the keep rules would keep is filled in after the newer ones, newest first', () => {
  const all = [source(1), source(2), source(3), source(4), source(5)];
  assert.deepEqual(filled(all, [copy(4)], keepLast(4)), ['check 4', 'new 5', 'fill 3', 'fill 2']);
  assert.deepEqual(filled(all, [copy(4)], keepLast(1)), ['check 4', 'new 5']);
  assert.deepEqual(filled(all, [copy(2), copy(3), copy(4)], keepLast(4)), ['check 4', 'new 5']);
  assert.deepEqual(filled(all, [copy(4)], keepLast(9), { transferLast: 3 }), ['check 4', 'new 5', 'fill 3']);
});

test('backfill mends corrupt and unfinished copies, the newest too; protected copies count as kept', () => {
  const all = [source(1), source(2), source(3)];
  assert.deepEqual(filled(all, [copy(1, { corrupt: true }), copy(2, { finished: false }), copy(3, { corrupt: true })], keepLast(9)), ['repair 3', 'fill 2', 'repair 1']);
  assert.deepEqual(filled(all, [copy(1, { corrupt: true }), copy(3)], keepLast(2)), ['check 3', 'fill 2']);
});

test('a second run after a backfill has no gap left, whatever is there and whatever the rules are', () => {
  const times = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { maxLength: 20 });
  fc.assert(
    fc.property(times, times, fc.integer({ min: 1, max: 12 }), (here, there, count) => {
      const present = there.map((time) => copy(time));
      const first = planGroup(group, here.map((time) => source(time)), target(present), plainPolicy, never, keepLast(count));
      const after = new Map(present.map((snapshot) => [snapshot.time, snapshot]));
      for (const step of first.steps) after.set(step.snapshot.time, copy(step.snapshot.time));
      const second = planGroup(group, here.map((time) => source(time)), target([...after.values()]), plainPolicy, () => true, keepLast(count));
      assert.deepEqual(second.steps, []);
    }),
  );
});
