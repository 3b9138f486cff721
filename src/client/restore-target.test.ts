import assert from 'node:assert/strict';
import { link, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { faultyFileCalls } from '../../test/support/faulty-files.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { nodeFileCalls } from '../datastore/replace-file.ts';
import { PipeTarget, RestoreTarget, type TargetCalls } from './restore-target.ts';

const mebibyte = 1024 * 1024;

async function fill(path: string, files?: TargetCalls): Promise<void> {
  await using target = await RestoreTarget.create(path, files);
  await target.write(Buffer.from('start'));
  await target.writeZeros(8 * mebibyte);
  await target.write(Buffer.from('end'));
  await target.writeZeros(10);
  await target.commit();
}

const expected = Buffer.concat([Buffer.from('start'), Buffer.alloc(8 * mebibyte), Buffer.from('end'), Buffer.alloc(10)]);

test('whole at the end, with holes for zeros, and alone in its folder', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'out');
  await fill(path);
  assert.ok((await readFile(path)).equals(expected));
  assert.ok((await stat(path)).blocks * 512 < mebibyte);
  assert.deepEqual(await readdir(folder.path), ['out']);
});

test('nothing is seen before the end, nothing is left without one', async () => {
  await using folder = await temporaryFolder();
  {
    await using target = await RestoreTarget.create(join(folder.path, 'out'));
    await target.write(Buffer.from('half'));
    assert.deepEqual((await readdir(folder.path)).map((name) => name.replace(/\.tmp_.{6}$/, '.tmp')), ['out.tmp']);
  }
  assert.deepEqual(await readdir(folder.path), []);
});

test('what exists stays: before, and also when it came meanwhile', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'out');
  const refusal = { code: 'store.target', message: `unable to create target file "${path}" - File exists (os error 17)` };
  await symlink('/nonexistent/nowhere', path);
  await assert.rejects(RestoreTarget.create(path), refusal);
  await assert.rejects(RestoreTarget.create(join(path, 'x')), { code: 'store.target', message: /No such file or directory/ });

  for (const files of [undefined, withoutLinks()]) {
    const late = join(folder.path, files === undefined ? 'late' : 'later');
    await using target = await RestoreTarget.create(late, files);
    await target.write(Buffer.from('ours'));
    await writeFile(late, 'theirs');
    await assert.rejects(target.commit(), { code: 'store.target', message: `unable to finish target file "${late}" - File exists (os error 17)` });
    assert.equal(await readFile(late, 'utf8'), 'theirs');
  }
  assert.deepEqual((await readdir(folder.path)).sort(), ['late', 'later', 'out']);
});

/** As on a file system that has no hard links. */
function withoutLinks(): TargetCalls {
  return { ...nodeFileCalls, link: () => Promise.reject(Object.assign(new Error('no links'), { code: 'EPERM' })) };
}

test('a file system without hard links', async () => {
  await using folder = await temporaryFolder();
  await fill(join(folder.path, 'out'), withoutLinks());
  assert.ok((await readFile(join(folder.path, 'out'))).equals(expected));
  assert.deepEqual(await readdir(folder.path), ['out']);
});

test('whichever call fails, there is the whole file or none, and no leftover', async () => {
  let failures = 0;
  for (const errno of ['ENOSPC', 'EIO']) {
    for (let failAt = 1; ; failAt += 1) {
      await using folder = await temporaryFolder();
      const path = join(folder.path, 'out');
      const faulty = faultyFileCalls({ failAt, errno });
      const outcome = await fill(path, { ...faulty.calls, link }).catch((e: unknown) => e as Error & { code: string });
      if (!faulty.fired()) {
        assert.equal(outcome, undefined);
        break;
      }
      failures += 1;
      assert.ok(outcome instanceof Error);
      assert.equal(outcome.code, errno === 'ENOSPC' ? 'store.full' : 'store.target');
      const names = await readdir(folder.path);
      assert.ok(names.length === 0 || (names.length === 1 && names[0] === 'out' && (await readFile(path)).equals(expected)), `${errno} ${failAt}: ${names.join(' ')}`);
    }
  }
  assert.ok(failures >= 12, `${failures} calls`);
});

test('a full disk is said with the way out', async () => {
  const full = new PipeTarget({ write: () => Promise.reject(Object.assign(new Error('write'), { code: 'ENOSPC' })) });
  await assert.rejects(full.write(Buffer.from('x')), { code: 'store.full', message: 'unable to write to standard output - No space left on device (os error 28)', hint: /free space/ });
});

test('zeros go through a pipe like everything else', async () => {
  const pieces: Buffer[] = [];
  const pipe = new PipeTarget({
    write: (bytes) => {
      pieces.push(Buffer.from(bytes));
      return Promise.resolve();
    },
  });
  await pipe.write(Buffer.from('a'));
  await pipe.writeZeros(3 * mebibyte + 1);
  assert.ok(Buffer.concat(pieces).equals(Buffer.concat([Buffer.from('a'), Buffer.alloc(3 * mebibyte + 1)])));
});
