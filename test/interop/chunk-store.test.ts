import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { fileOwner } from '../../src/datastore/file-owner.ts';
import { collectGarbage } from '../../src/datastore/garbage-collection.ts';
import { readGcStatus } from '../../src/datastore/gc-status.ts';
import { LocalChunkBackend } from '../../src/datastore/local-chunk-backend.ts';
import { LockFile } from '../../src/datastore/lock-file.ts';
import { ProcessLock } from '../../src/datastore/process-lock.ts';
import { goldenFiles } from '../support/golden.ts';

const peer = process.env['PEER']!;
const name = 'chunks';
const state = mkdtempSync(join(tmpdir(), 'farshore-peer-'));
const env = { ...process.env, PEER_STATE: state };

const run = (...args: string[]): string => execFileSync(peer, args, { env, encoding: 'utf8', timeout: 180_000, stdio: ['ignore', 'pipe', 'pipe'] });
function manager(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(peer, ['exec', name, 'proxmox-backup-manager', ...args], { env, encoding: 'utf8', timeout: 180_000 });
  return { status, output: stdout + stderr };
}

/** Makes files and their folders as the datastore's owner has them. */
function writeGolden(base: string): void {
  const { uid, gid } = fileOwner()!;
  for (const file of goldenFiles()) {
    const path = join(base, file.name);
    const made = mkdirSync(dirname(path), { recursive: true });
    if (made !== undefined) for (let at = dirname(path); at.length >= made.length; at = dirname(at)) chownSync(at, uid, gid);
    writeFileSync(path, file.content);
    chmodSync(path, file.mode);
    chownSync(path, uid, gid);
  }
}

test('a chunk store of ours is taken over by the reference, both keep out of the way of the other, and collect the same', async () => {
  try {
    run('up', name, '77');
    const base = join(run('dir', name).trim(), 'main');
    const chunks = await LocalChunkBackend.create(base);
    writeGolden(base);
    assert.match(run('exec', name, 'proxmox-backup-manager', 'datastore', 'create', 'main', '/data/main', '--reuse-datastore', 'true'), /TASK OK/);

    using processLock = ProcessLock.open(join(base, '.lock'));
    const writer = processLock.shared();
    const blocked = manager('garbage-collection', 'start', 'main');
    assert.match(blocked.output, /unable to get exclusive lock - EAGAIN: Try again/);
    writer.release();

    assert.match(manager('garbage-collection', 'start', 'main').output, /TASK OK/);
    const theirs = await readGcStatus(base);
    const locks = { group: () => LockFile.acquire(join(state, 'group-lock'), { mode: 'exclusive' }) };
    const tuning = { gcAtimeSafetyCheck: true, gcAtimeCutoff: undefined, gcCacheCapacity: 1024 * 1024 };
    const ours = await collectGarbage({ name: 'main', path: base, chunks, processLock, locks, tuning }, { upid: theirs.upid, log: silentLog });
    assert.deepEqual(ours, theirs);
    assert.equal(ours.diskChunks, 37);
    assert.match(manager('verify', 'main').output, /TASK OK/);
    // It reads the status that we wrote.
    assert.match(manager('garbage-collection', 'status', 'main', '--output-format', 'json').output, /"disk-chunks":37/);
  } finally {
    run('wipe', name);
    rmSync(state, { recursive: true, force: true });
  }
});
