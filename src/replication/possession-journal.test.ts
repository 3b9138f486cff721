import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { spawnSync } from 'node:child_process';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { PossessionJournal, recoderLength } from './possession-journal.ts';

const digestOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();
const snapshot = { type: 'vm', id: '100', time: 1_760_000_000 } as const;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'farshore-journal-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function open(path: string, change: { identity?: string; bootId?: string; log?: ProgressLog } = {}): PossessionJournal {
  return PossessionJournal.open({ path: join(path, 'x', 'hq.sqlite'), identity: 'hq:8007:sync@pbs', bootId: 'boot-1', log: silentLog, ...change });
}

test('knows what was delivered, at once and after reopening', (t) => {
  const path = folder(t);
  const journal = open(path);
  assert.equal(journal.has(digestOf(1)), false);
  for (let i = 0; i < 2000; i += 1) journal.add(digestOf(i));
  assert.equal(journal.has(digestOf(1999)), true);
  assert.equal(journal.size, 2000);
  journal.close();
  const again = open(path);
  assert.equal(again.has(digestOf(1)), true);
  assert.equal(again.has(digestOf(2000)), false);
  again.close();
});

test('entries survive a killed process', (t) => {
  const path = folder(t);
  const script = `
    import { PossessionJournal } from '${new URL('./possession-journal.ts', import.meta.url).pathname}';
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const journal = PossessionJournal.open({ path: process.argv[1], identity: 'hq:8007:sync@pbs', bootId: 'boot-1', log });
    journal.add(Buffer.alloc(32, 1));
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 400);`;
  const child = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, join(path, 'x', 'hq.sqlite')]);
  assert.equal(child.signal, 'SIGKILL', child.stderr.toString());
  const journal = open(path);
  assert.equal(journal.has(Buffer.alloc(32, 1)), true);
  journal.close();
});

test('after a power loss only what was flushed counts', (t) => {
  const path = folder(t);
  const journal = open(path);
  journal.add(digestOf(1));
  const epoch = journal.beginFlush();
  journal.add(digestOf(2));
  journal.flushed(epoch);
  journal.close();
  const later = open(path, { bootId: 'boot-2' });
  assert.equal(later.has(digestOf(1)), true);
  assert.equal(later.has(digestOf(2)), false);
  later.close();
});

test('another identity starts with nothing', (t) => {
  const path = folder(t);
  const journal = open(path);
  journal.add(digestOf(1));
  journal.recordArrival('a', snapshot, { listing: digestOf(7), verification: null });
  journal.close();
  const other = open(path, { identity: 'elsewhere:8007:sync@pbs' });
  assert.equal(other.has(digestOf(1)), false);
  assert.equal(other.arrival('a', snapshot), null);
  other.close();
});

test('remembers the listing and the foreign verification of a snapshot', (t) => {
  const journal = open(folder(t));
  journal.recordArrival('a', snapshot, { listing: digestOf(7), verification: 'UPID:x' });
  assert.equal(journal.isUnchanged('a', snapshot, digestOf(7)), true);
  assert.equal(journal.isUnchanged('a', snapshot, digestOf(8)), false);
  assert.equal(journal.isUnchanged('', snapshot, digestOf(7)), false);
  assert.equal(journal.arrival('a', snapshot)?.verification, 'UPID:x');
  journal.forgetArrival('a', snapshot);
  assert.equal(journal.arrival('a', snapshot), null);
  journal.close();
});

test('a damaged file is set aside, said, and begun anew', (t) => {
  const path = folder(t);
  open(path).close();
  writeFileSync(join(path, 'x', 'hq.sqlite'), Buffer.alloc(8192, 0xaa));
  const warnings: string[] = [];
  const journal = open(path, { log: { ...silentLog, warn: (line) => warnings.push(line) } });
  journal.add(digestOf(1));
  assert.equal(journal.has(digestOf(1)), true);
  journal.close();
  assert.equal(warnings.length, 1);
  assert.ok(readdirSync(join(path, 'x')).some((name) => name.includes('.damaged-')));
});

test('remembers what became of a chunk that was changed on its way, for each way of changing, and takes it for no delivery', (t) => {
  const path = folder(t);
  const [one, two] = [Buffer.alloc(recoderLength, 1), Buffer.alloc(recoderLength, 2)];
  const journal = open(path);
  journal.addRecoded(one, digestOf(1), digestOf(2));
  assert.deepEqual(journal.recoded(one, digestOf(1)), digestOf(2));
  assert.equal(journal.recoded(two, digestOf(1)), null);
  assert.equal(journal.recoded(one, digestOf(2)), null);
  assert.equal(journal.has(digestOf(1)), false);
  assert.equal(journal.has(digestOf(2)), false);
  const epoch = journal.beginFlush();
  journal.addRecoded(one, digestOf(3), digestOf(4));
  journal.flushed(epoch);
  journal.close();
  // A power loss: what was not flushed may not be on the disk.
  const again = open(path, { bootId: 'boot-2' });
  assert.deepEqual(again.recoded(one, digestOf(1)), digestOf(2));
  assert.equal(again.recoded(one, digestOf(3)), null);
  again.close();
  const other = open(path, { identity: 'elsewhere:8007:sync@pbs' });
  assert.equal(other.recoded(one, digestOf(1)), null);
  other.close();
});
