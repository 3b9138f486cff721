import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { readerOf } from '../../../test/support/archive-events.ts';
import { device, fifo, file, hardlink, madeArchive, madeTime, ownMetadata, socket, symlink, type MadeDirectory } from '../../../test/support/made-archive.ts';
import { FormatError } from '../../base/errors.ts';
import { FuseRefusal } from '../../fuse/file-system.ts';
import type { DirectoryRecord, NodeAttributes } from '../../fuse/reply.ts';
import { rootNode } from '../../fuse/request.ts';
import { ArchiveAccessor } from '../../pxar/archive-accessor.ts';
import { emptyAcl } from '../../pxar/entry-metadata.ts';
import { ArchiveFiles } from './archive-files.ts';

const acl = { ...emptyAcl(), users: [{ id: 5, permissions: 4 }], groupObject: 6 };
const content: MadeDirectory = {
  dir: { sub: { deep: 'deep' }, other: file('twice', { position: 1 }) },
  'a-link': symlink('dir/sub'),
  block: device(259, 70_000),
  pipe: fifo(),
  plug: socket(),
  xattrs: file('x', { metadata: { xattrs: [{ name: Buffer.from('user.k'), value: Buffer.from('v') }], fileCapabilities: Buffer.from('caps'), acl } }),
  'z-hard': hardlink(1, 'dir/other'),
};

function filesOf(archive: Buffer): ArchiveFiles {
  return new ArchiveFiles({ archive: new ArchiveAccessor(readerOf(archive), archive.length), length: archive.length });
}

async function listed(files: ArchiveFiles, node: bigint, offset = 0): Promise<DirectoryRecord[]> {
  return Array.fromAsync(files.list(node, offset));
}

async function at(files: ArchiveFiles, ...names: string[]): Promise<NodeAttributes> {
  let node = rootNode;
  let found: NodeAttributes | null = null;
  for (const name of names) {
    found = await files.lookup(node, Buffer.from(name));
    assert.ok(found !== null, name);
    node = found.node;
  }
  return found!;
}

const refused = (name: string) => (e: unknown): boolean => e instanceof FuseRefusal && e.message === name;

suite('an archive as a file system', () => {
  const archive = madeArchive(content);

  test('nodes are what the archive says, and the same by lookup, listing and number alone', async () => {
    const files = filesOf(archive);
    const { uid, gid } = ownMetadata(0);
    const other = await at(files, 'dir', 'other');
    assert.deepEqual(other, { node: other.node, mode: 0o100644, nlink: 1, uid, gid, size: 5, mtimeNs: madeTime, device: null });
    assert.deepEqual(await at(files, 'z-hard'), other, 'another name of the same node');
    assert.deepEqual((await at(files, 'block')).device, { major: 259, minor: 70_000 });
    assert.equal((await at(files, 'a-link')).size, 7);
    assert.equal((await files.readlink((await at(files, 'a-link')).node)).toString(), 'dir/sub');
    assert.deepEqual([(await at(files, 'dir')).nlink, (await files.attributes(rootNode)).nlink, (await at(files, 'pipe')).mode, (await at(files, 'plug')).mode], [2, 2, 0o10640, 0o140600]);
    assert.equal(await files.lookup(rootNode, Buffer.from('nothing')), null);
    // One that has forgotten everything.
    const anew = filesOf(archive);
    for (const name of ['dir', 'a-link', 'block', 'xattrs']) assert.deepEqual(await anew.attributes((await at(files, name)).node), await at(files, name), name);
    assert.equal(Buffer.concat(await anew.read(other.node, 1, 3)).toString(), 'wic');
    assert.equal(Buffer.concat(await anew.read(other.node, 3, 100)).toString(), 'ce');
    assert.equal(Buffer.concat(await anew.read(other.node, 5, 100)).length, 0);
    for (const record of await listed(files, rootNode)) {
      if (record.attributes !== null) assert.deepEqual(record.attributes, await at(anew, record.name.toString()));
      else if (!/^\.\.?$/.test(record.name.toString())) assert.deepEqual([record.node, record.mode], [(await at(anew, record.name.toString())).node, 0o100000]);
    }
  });

  test('a listing goes on from any of its entries', async () => {
    const files = filesOf(archive);
    const all = await listed(files, rootNode);
    assert.deepEqual(all.map(({ name }) => name.toString()).sort(), ['.', '..', 'a-link', 'block', 'dir', 'pipe', 'plug', 'xattrs', 'z-hard']);
    for (const [i, record] of all.entries()) assert.deepEqual(await listed(files, rootNode, record.next), all.slice(i + 1));
  });

  test('attributes: also capabilities and ACLs', async () => {
    const files = filesOf(archive);
    const found = await files.xattrs((await at(files, 'xattrs')).node);
    assert.deepEqual(found.map(({ name, value }) => [name.toString(), value.toString('hex')]), [
      ['user.k', '76'],
      ['security.capability', Buffer.from('caps').toString('hex')],
      ['system.posix_acl_access', '0200000001000600ffffffff020004000500000004000600ffffffff10000400ffffffff20000400ffffffff'],
    ]);
    assert.deepEqual(await files.xattrs(rootNode), []);
  });

  test('what a node is not', async () => {
    const files = filesOf(archive);
    const { node } = await at(files, 'dir');
    await assert.rejects(files.read(node, 0, 1), refused('EISDIR'));
    await assert.rejects(files.readlink((await at(files, 'xattrs')).node), refused('EINVAL'));
    await assert.rejects(files.lookup((await at(files, 'xattrs')).node, Buffer.from('x')), refused('ENOTDIR'));
    await assert.rejects(files.read((await at(files, 'block')).node, 0, 1), refused('EINVAL'));
  });

  test('log lines name the path', async () => {
    const files = filesOf(archive);
    assert.equal(files.shown((await at(files, 'dir', 'sub', 'deep')).node), '"/dir/sub/deep"');
    assert.match(filesOf(archive).shown((await at(files, 'dir', 'sub', 'deep')).node), /^entry [0-9]+ of the archive$/);
  });
});

test('a damaged archive is refused, whatever the damage, and never listed without end', async () => {
  const archive = madeArchive(content);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), async (changes) => {
      const bytes = Buffer.from(archive);
      for (const [place, value] of changes) bytes[place] = value;
      const files = filesOf(bytes);
      const pending = [rootNode];
      for (let seen = 0; pending.length > 0; seen += 1) {
        assert.ok(seen < 200, 'more than the archive can hold');
        const node = pending.pop()!;
        try {
          for (const record of await listed(files, node)) {
            if (record.name.toString() === '.' || record.name.toString() === '..') continue;
            if ((record.mode & 0o170000) === 0o40000) pending.push(record.node);
            else if ((record.mode & 0o170000) === 0o100000) await files.read(record.node, 0, 100);
            await files.xattrs(record.node);
          }
        } catch (e) {
          assert.ok(e instanceof FormatError || e instanceof FuseRefusal, String(e));
        }
      }
    }),
    { numRuns: 400 },
  );
});
