import assert from 'node:assert/strict';
import { closeSync, constants, lstatSync, mkdtempSync, openSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { descriptorPath, entryPath } from './descriptor-path.ts';
import { setDescriptorTimes } from './file-times.ts';
import { getFatAttributes, getInodeFlags, getProjectId, setInodeFlags, setProjectId } from './inode-flags.ts';
import { SystemCallError } from './libc.ts';
import { deviceNumber, deviceNumbers } from './special-file.ts';
import { getDescriptorXattr, getXattr, listDescriptorXattrs, setDescriptorXattr } from './xattr.ts';

const folder = mkdtempSync(join(tmpdir(), 'farshore-descriptor-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const pathOnly = 0o10000000;

function opened(name: string, flags = constants.O_RDONLY): { fd: number; path: string } {
  const path = join(folder, name);
  writeFileSync(path, 'x');
  return { fd: openSync(path, flags), path };
}

test('paths from descriptors', () => {
  const { fd } = opened('named');
  assert.equal(statSync(descriptorPath(fd)).size, 1);
  const directory = openSync(folder, 'r');
  const name = Buffer.from([0x6e, 0xff]);
  writeFileSync(entryPath(directory, name), 'bytes');
  assert.equal(statSync(Buffer.concat([Buffer.from(`${folder}/`), name])).size, 5);
  for (const open of [fd, directory]) closeSync(open);
});

test('attributes by descriptor', () => {
  const { fd, path } = opened('attributes');
  setDescriptorXattr(fd, 'user.one', Buffer.from('1'));
  const withoutAccess = openSync(path, pathOnly | constants.O_NOFOLLOW);
  setDescriptorXattr(withoutAccess, 'user.two', Buffer.alloc(0));
  assert.deepEqual(listDescriptorXattrs(fd)!.map(String).filter((name) => name.startsWith('user.')).toSorted(), ['user.one', 'user.two']);
  assert.equal(getDescriptorXattr(fd, 'user.one')?.toString(), '1');
  assert.deepEqual(getDescriptorXattr(fd, 'user.two'), Buffer.alloc(0));
  assert.equal(getDescriptorXattr(fd, 'user.none'), null);
  assert.equal(getXattr(path, 'user.one')?.toString(), '1');
  assert.throws(() => listDescriptorXattrs(withoutAccess), (e) => e instanceof SystemCallError && e.code === 'EBADF');
  assert.throws(() => getDescriptorXattr(withoutAccess, 'user.one'), { code: 'EBADF' });
  for (const open of [fd, withoutAccess]) closeSync(open);
});

test('times by descriptor, of a link too', () => {
  const link = join(folder, 'link');
  symlinkSync('nowhere', link);
  const fd = openSync(link, pathOnly | constants.O_NOFOLLOW);
  const mtime = -305_112_600_001_000_000n;
  setDescriptorTimes(fd, { atime: 'keep', mtime });
  assert.equal(lstatSync(link, { bigint: true }).mtimeNs, mtime);
  closeSync(fd);
});

test('flags: read, set, and nothing where there are none', () => {
  const { fd, path } = opened('flags');
  const flags = getInodeFlags(fd);
  const noDump = 0x40;
  if (flags !== null && setInodeFlags(fd, flags | noDump)) assert.equal(getInodeFlags(fd), flags | noDump);
  assert.equal(getFatAttributes(fd), null);
  const withoutAccess = openSync(path, pathOnly);
  assert.equal(getInodeFlags(withoutAccess), null);
  assert.equal(getProjectId(withoutAccess), null);
  assert.equal(setProjectId(withoutAccess, 5), false);
  assert.equal(getProjectId(fd) ?? 0, 0);
  for (const open of [fd, withoutAccess]) closeSync(open);
});

test('device numbers come apart as they were put together', () => {
  assert.deepEqual(deviceNumbers(0x811n), { major: 8, minor: 17 });
  fc.assert(fc.property(fc.nat(0xffff_ffff), fc.nat(0xffff_ffff), (major, minor) => assert.deepEqual(deviceNumbers(deviceNumber(major, minor)), { major, minor })));
});
