import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyAcl } from '../pxar/entry-metadata.ts';
import { entryFlags, hasFatAttributes, restoredFatAttributes, restoredInodeFlags } from './entry-flags.ts';
import { filesystemKind } from './filesystem-kind.ts';
import { decodePosixAcls, encodePosixAcls } from './posix-acl.ts';
import { isArchivedXattr } from './xattr-names.ts';

const acl = (...entries: Array<[number, number, number]>): Buffer => {
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(2);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    value.writeUInt16LE(tag, 4 + 8 * i);
    value.writeUInt16LE(permissions, 6 + 8 * i);
    value.writeUInt32LE(id, 8 + 8 * i);
  }
  return value;
};
const none = 0xffff_ffff;

test('ACLs: the worked example, and back to the same bytes', () => {
  const access = acl([1, 6, none], [2, 4, 5], [2, 6, 1000], [4, 4, none], [8, 5, 100], [16, 7, none], [32, 0, none]);
  const decoded = decodePosixAcls(access, null);
  assert.deepEqual(decoded, { ...emptyAcl(), users: [{ id: 5, permissions: 4 }, { id: 1000, permissions: 6 }], groups: [{ id: 100, permissions: 5 }], groupObject: 4 });
  assert.deepEqual(encodePosixAcls(decoded, 0o100670), { access, byDefault: null, hasNoMask: false });
  const byDefault = acl([1, 7, none], [2, 7, 1000], [4, 5, none], [16, 7, none], [32, 5, none]);
  const directory = decodePosixAcls(null, byDefault)!;
  assert.deepEqual(directory.default, { userObject: 7, groupObject: 5, other: 5, mask: 7 });
  assert.deepEqual(encodePosixAcls(directory, 0o40755).byDefault, byDefault);
  assert.equal(decodePosixAcls(acl([1, 6, none], [4, 4, none], [32, 4, none]), null), null);
  assert.equal(decodePosixAcls(null, null), null);
});

test('ACLs: named entries without a stored group use the group\'s permissions', () => {
  const { access, hasNoMask } = encodePosixAcls({ ...emptyAcl(), users: [{ id: 9, permissions: 7 }] }, 0o100640);
  assert.ok(hasNoMask);
  assert.deepEqual(access, acl([1, 6, none], [2, 7, 9], [4, 4, none], [16, 4, none], [32, 0, none]));
  const withoutMask = encodePosixAcls({ ...emptyAcl(), default: { userObject: 7, groupObject: 5, other: 0, mask: null } }, 0o40750);
  assert.deepEqual(withoutMask.byDefault, acl([1, 7, none], [4, 5, none], [32, 0, none]));
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(3), acl().fill(9), Buffer.alloc(13)]) assert.throws(() => decodePosixAcls(bytes, null), { code: 'format.acl' });
});

test('flags of chattr and FAT', () => {
  assert.equal(entryFlags(0x10 | 0x20 | 0x40 | 0x80000, 2 | 32), 0x400000n | 0x10000n | 0x100000n | 0x2000n | 0x8000n);
  assert.equal(entryFlags(0, 0), 0n);
  assert.equal(restoredInodeFlags(0n, 0x80080, 'at-end'), 0x80080);
  assert.equal(restoredInodeFlags(0x400000n, 0x80080, 'at-end'), 0x80010);
  assert.equal(restoredInodeFlags(0x400000n | 0x20000n, 0x80000, 'before-content'), 0x80080);
  // No dump is kept as it is.
  assert.equal(restoredInodeFlags(0x100000n | 0x800000n, 0, 'at-end'), 8);
  assert.equal(restoredInodeFlags(0x2000000n, 0x80000000, 'at-end'), 0xa0000000);
  assert.deepEqual([hasFatAttributes(0x2000n), hasFatAttributes(0x10000n)], [true, false]);
  assert.equal(restoredFatAttributes(0x4000n, 1 | 32), 1 | 4);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 0xffff_ffff }), (flags, current) => {
      const archived = entryFlags(flags, 0);
      fc.pre(archived !== 0n);
      const after = restoredInodeFlags(archived, current, 'at-end');
      assert.equal(entryFlags(after, 0) & ~0x100000n, archived & ~0x100000n);
      assert.equal((after & 0x40) >>> 0, (current & 0x40) >>> 0);
    }),
  );
});

test('file systems', () => {
  assert.deepEqual(filesystemKind(0xef53), { isVirtual: false, xattrs: true, acls: true, fileCapabilities: true, quotaProjectId: true, fatAttributes: false });
  assert.deepEqual(filesystemKind(0x9123683e), { isVirtual: false, xattrs: true, acls: true, fileCapabilities: true, quotaProjectId: false, fatAttributes: false });
  assert.deepEqual(filesystemKind(0x01021994), { isVirtual: false, xattrs: false, acls: false, fileCapabilities: false, quotaProjectId: false, fatAttributes: false });
  assert.deepEqual(filesystemKind(0x65735546), { isVirtual: false, xattrs: true, acls: false, fileCapabilities: false, quotaProjectId: false, fatAttributes: true });
  assert.ok(filesystemKind(0x9fa0).isVirtual && filesystemKind(0x62656572).isVirtual && filesystemKind(0xf97cff8c).isVirtual);
});

test('names of attributes that are archived', () => {
  const is = (name: string): boolean => isArchivedXattr(Buffer.from(name));
  assert.ok(is('user.a') && is('trusted.overlay.x') && is('security.NTACL') && is(`user.${'x'.repeat(250)}`));
  assert.ok(!is('security.selinux') && !is('system.posix_acl_access') && !is('') && !is('username') && !is(`user.${'x'.repeat(251)}`));
});
