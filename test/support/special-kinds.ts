import { chmodSync, closeSync, linkSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getInodeFlags, setInodeFlags } from '../../src/sys/inode-flags.ts';
import { deviceNumber, makeSpecialFile } from '../../src/sys/special-file.ts';
import { setXattr } from '../../src/sys/xattr.ts';
import type { SeededRandom } from './random-tree.ts';

/** Tag, permissions, id (-1: none) of each entry, in the kernel's form. */
function aclValue(entries: ReadonlyArray<readonly [number, number, number]>): Buffer {
  const value = Buffer.alloc(4 + entries.length * 8);
  value.writeUInt32LE(2);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    value.writeUInt16LE(tag, 4 + 8 * i);
    value.writeUInt16LE(permissions, 6 + 8 * i);
    value.writeUInt32LE(id >>> 0, 8 + 8 * i);
  }
  return value;
}

function addFlags(path: string, flags: number): void {
  const fd = openSync(path, 'r');
  try {
    setInodeFlags(fd, getInodeFlags(fd)! | flags);
  } finally {
    closeSync(fd);
  }
}

/**
 * Adds to a tree what only root can make, and what `writeRandomTree` does not: devices, sockets, ACLs, capabilities, many attributes, sparse
 * files, flags, and `.pxarexclude` files with what they exclude.
 */
export function writeSpecialKinds(root: string, random: SeededRandom): void {
  const file = (name: string, content: string | Buffer = 'x'): string => {
    writeFileSync(join(root, name), content);
    return join(root, name);
  };
  const directory = (name: string): string => {
    mkdirSync(join(root, name));
    return join(root, name);
  };
  makeSpecialFile(join(root, 'block'), 0o60640, deviceNumber(259, 70_000));
  makeSpecialFile(join(root, 'character'), 0o20600, deviceNumber(1, 3));
  makeSpecialFile(join(root, 'socket'), 0o140755);
  const many = file('many-attributes');
  for (let i = 0; i < 20; i += 1) setXattr(many, `${random.pick(['user', 'trusted'])}.key-${random.below(10_000)}`, random.noise(random.below(60)));
  setXattr(many, 'security.NTACL', Buffer.from('nt'));
  setXattr(file('capable'), 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  const access = file('access');
  setXattr(access, 'system.posix_acl_access', aclValue([[1, 6, -1], [2, 4, 5], [2, 6, 1000], [4, 4, -1], [8, 5, 100], [16, 7, -1], [32, 0, -1]]));
  setXattr(file('only-a-mask'), 'system.posix_acl_access', aclValue([[1, 6, -1], [4, 4, -1], [16, 6, -1], [32, 4, -1]]));
  setXattr(directory('by-default'), 'system.posix_acl_default', aclValue([[1, 7, -1], [2, 5, 1000], [4, 5, -1], [16, 7, -1], [32, 5, -1]]));
  setXattr(directory('by-default-short'), 'system.posix_acl_default', aclValue([[1, 7, -1], [4, 5, -1], [32, 5, -1]]));
  file('sparse', Buffer.concat([Buffer.alloc(100_000), Buffer.from('a'), Buffer.alloc(70_000)]));
  chmodSync(file('all-bits'), 0o7755);
  chmodSync(directory('sticky'), 0o1777);
  for (const name of ['a-link', 'z-link']) linkSync(access, join(root, name));
  for (const [name, flag] of [['no-dump', 0x40], ['no-atime', 0x80], ['sync', 8]] as const) addFlags(file(name), flag);
  addFlags(directory('sync-folder'), 0x10000 | 0x80);
  file('.pxarexclude', '*.nope\n/dir-1/x\n!keep\n');
  const sub = directory('sub');
  writeFileSync(join(sub, '.pxarexclude'), 'foo*\n/bar\n!/bar/baz\n');
  for (const name of ['foo1', 'bar', 'x.nope', 'keep', 'bax', '.pxarexclude-cli']) writeFileSync(join(sub, name), name);
  for (const name of ['x.nope', '.pxarexclude-cli']) file(name);
}
