import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import {
  archiveKind,
  compareGroups,
  formatBackupTime,
  groupPath,
  groupText,
  joinNamespace,
  namespaceComponents,
  namespaceDepth,
  namespacePath,
  parentNamespace,
  parseBackupTime,
  parseGroup,
  parseNamespace,
  parseSnapshot,
  serverArchiveName,
  snapshotPath,
  snapshotText,
  type BackupGroup,
} from './backup-path.ts';

test('snapshot text and paths', () => {
  const snapshot = { type: 'host', id: 'deep', time: 1_760_000_600 } as const;
  assert.equal(snapshotText(snapshot), 'host/deep/2025-10-09T09:03:20Z');
  assert.deepEqual(parseSnapshot('host/deep/2025-10-09T09:03:20Z'), snapshot);
  assert.equal(snapshotPath('site-a/dept-b', snapshot), 'ns/site-a/ns/dept-b/host/deep/2025-10-09T09:03:20Z');
  assert.equal(groupPath('', snapshot), 'host/deep');
  assert.deepEqual(parseGroup('vm/100'), { type: 'vm', id: '100' });
});

test('bad snapshots and groups are refused', () => {
  for (const text of ['', 'vm', 'vm/', 'vm/.', 'vm/..', 'VM/1', 'vm/a/b', '/vm/1', 'vm/1/', 'ns/a', 'vm/a b', 'vm/-1']) assert.throws(() => parseGroup(text), FormatError, text);
  for (const text of ['vm/100', 'vm/100/', 'vm/100/2025-10-09', 'vm/../2025-10-09T09:03:20Z', 'vm/100/2025-10-09T09:03:20Z/x']) assert.throws(() => parseSnapshot(text), FormatError, text);
});

test('backup times: real moments only, from 1 second after the epoch', () => {
  assert.equal(parseBackupTime('1970-01-01T00:00:01Z'), 1);
  for (const text of ['1970-01-01T00:00:00Z', '1969-12-31T23:59:59Z', '2025-02-30T00:00:00Z', '2025-13-01T00:00:00Z', '2025-01-01T24:00:00Z', '2025-01-01T00:00:60Z', '2025-01-01T00:00:00.0Z', '2025-01-01t00:00:00z', '2025-01-01T00:00:00+00:00']) {
    assert.throws(() => parseBackupTime(text), FormatError, text);
  }
  fc.assert(fc.property(fc.integer({ min: 1, max: 253_402_300_799 }), (time) => assert.equal(parseBackupTime(formatBackupTime(time)), time)));
});

test('namespaces', () => {
  assert.equal(parseNamespace(''), '');
  assert.equal(namespacePath('a/b'), 'ns/a/ns/b');
  assert.equal(namespacePath(''), '');
  assert.deepEqual([namespaceDepth(''), namespaceDepth('a/b'), namespaceComponents('a/b')], [0, 2, ['a', 'b']]);
  assert.deepEqual([joinNamespace('', 'a'), joinNamespace('a', 'b/c'), joinNamespace('a', '')], ['a', 'a/b/c', 'a']);
  assert.deepEqual([parentNamespace('a/b'), parentNamespace('a'), parentNamespace('')], ['a', '', null]);
  for (const text of ['/', 'a/', '/a', 'a//b', '..', 'a/../b', 'a b', 'a/b/c/d/e/f/g/h', 'a\n', `${'x'.repeat(128)}/${'y'.repeat(128)}`]) {
    assert.throws(() => parseNamespace(text), FormatError, text);
  }
  assert.equal(parseNamespace('a/b/c/d/e/f/g'), 'a/b/c/d/e/f/g');
  assert.throws(() => joinNamespace('a/b/c/d', 'e/f/g/h'), FormatError);
  const exact = `${'x'.repeat(128)}/${'y'.repeat(127)}`;
  assert.equal(parseNamespace(exact), exact);
});

test('archive names', () => {
  assert.deepEqual([archiveKind('a.img.fidx'), archiveKind('a.pxar.didx'), archiveKind('a.conf.blob')], ['fixed', 'dynamic', 'blob']);
  for (const name of ['', '.fidx', 'a.pxar', '../a.blob', 'a/b.blob', 'a.blob.tmp', '.protected', `${'x'.repeat(251)}.blob`]) assert.throws(() => archiveKind(name), FormatError, name);
  assert.equal(serverArchiveName('root.pxar'), 'root.pxar.didx');
  assert.equal(serverArchiveName('root.pxar.didx'), 'root.pxar.didx');
  assert.equal(serverArchiveName('catalog.pcat1'), 'catalog.pcat1.didx');
  assert.equal(serverArchiveName('drive-scsi0.img'), 'drive-scsi0.img.fidx');
  assert.equal(serverArchiveName('qemu-server.conf'), 'qemu-server.conf.blob');
  for (const name of ['pxar', 'x.txt', 'a/b.pxar', '']) assert.throws(() => serverArchiveName(name), FormatError, name);
});

const groups = fc.record({ type: fc.constantFrom('vm' as const, 'ct' as const, 'host' as const), id: fc.constantFrom('9', '10', '010', '100', 'a', 'B', '1a', '18446744073709551615', '18446744073709551616') });

test('group order: type, numbers by value before names by bytes', () => {
  const sorted = ['vm/a', 'vm/100', 'host/x', 'ct/2', 'vm/9', 'vm/B', 'vm/18446744073709551616', 'vm/18446744073709551615'].map(parseGroup).toSorted(compareGroups);
  assert.deepEqual(sorted.map(groupText), ['ct/2', 'host/x', 'vm/9', 'vm/100', 'vm/18446744073709551615', 'vm/18446744073709551616', 'vm/B', 'vm/a']);
  const same = (a: BackupGroup, b: BackupGroup): boolean => groupText(a) === groupText(b);
  fc.assert(
    fc.property(groups, groups, groups, (a, b, c) => {
      assert.equal(compareGroups(a, b) === 0, same(a, b));
      assert.equal(Math.sign(compareGroups(a, b)) + Math.sign(compareGroups(b, a)), 0);
      if (compareGroups(a, b) < 0 && compareGroups(b, c) < 0) assert.ok(compareGroups(a, c) < 0);
    }),
  );
});
