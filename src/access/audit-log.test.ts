import assert from 'node:assert/strict';
import { appendFile, cp, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { FormatError } from '../base/errors.ts';
import { formatAuditLine, firstPrevious, parseAuditLine, type AuditEvent } from './audit-line.ts';
import { auditFiles, AuditLog } from './audit-log.ts';
import { verifyAuditFiles } from './audit-verify.ts';

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-audit-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function opened(folder: string, rotateAboveBytes = 1e9): { log: AuditLog; complaints: string[] } {
  const complaints: string[] = [];
  return { complaints, log: new AuditLog({ folder, owner: null, clock: new ManualClock('2026-11-25T12:00:00Z'), log: { error: (line) => void complaints.push(line) }, rotateAboveBytes, syncWithinMs: 0 }) };
}

function call(n: number): AuditEvent {
  return { event: 'call', auth: 'admin@pbs!ci', address: '192.0.2.7', method: 'POST', path: '/config/sync', parameters: { id: `job-${n}` }, status: 200 };
}

async function write(folder: string, from: number, to: number, rotateAboveBytes?: number): Promise<void> {
  const { log, complaints } = opened(folder, rotateAboveBytes);
  await Promise.all(Array.from({ length: to - from }, (_, i) => log.append(call(from + i))));
  await log.close();
  assert.deepEqual(complaints, []);
}

test('lines follow each other across starts and files; a folder copied elsewhere can be checked, and files alone', async (t) => {
  const folder = join(await scratch(t), 'log');
  await write(folder, 0, 20, 1000);
  await write(folder, 20, 40, 1000);
  const files = await auditFiles(folder);
  assert.ok(files.length > 3, `${files.length}`);
  assert.equal((await stat(files[0]!)).mode & 0o777, 0o600);
  const whole = await verifyAuditFiles(files);
  assert.deepEqual({ ...whole, first: whole.first?.seq, last: whole.last?.seq }, { files: files.length, lines: 40, torn: 0, first: 1, last: 40, unfinished: false, bad: null });

  const copy = await scratch(t);
  await cp(folder, copy, { recursive: true });
  assert.deepEqual(await verifyAuditFiles(await auditFiles(copy)), whole);
  const tail = await verifyAuditFiles(files.slice(2), whole.last!.hash);
  assert.equal(tail.bad, null);
  assert.ok(tail.first!.seq > 1);
  assert.equal(tail.contains, true);
  assert.equal((await verifyAuditFiles(files, 'f'.repeat(64))).contains, false);
  assert.match((await verifyAuditFiles([files[0]!, files[2]!])).bad?.reason ?? '', /^number \d+ follows number \d+/);

  const { log } = opened(folder);
  const newest = await log.newest(3);
  assert.deepEqual(newest.map(({ seq, parameters }) => [seq, parameters]), [[40, { id: 'job-39' }], [39, { id: 'job-38' }], [38, { id: 'job-37' }]]);
  assert.deepEqual((await log.newest(100, ({ seq }) => seq % 10 === 0)).map(({ seq }) => seq), [40, 30, 20, 10]);
  await log.close();
});

test('the first line that was changed, removed, put in or exchanged is named', async (t) => {
  const folder = await scratch(t);
  await write(folder, 0, 10);
  const [path] = await auditFiles(folder);
  const lines = (await readFile(path!, 'utf8')).trimEnd().split('\n');
  const badAfter = async (changed: readonly string[]): Promise<string> => {
    const other = join(folder, 'other.jsonl');
    await writeFile(other, changed.map((line) => `${line}\n`).join(''));
    const { bad } = await verifyAuditFiles([other]);
    return bad === null ? 'intact' : `${bad.file} ${bad.line}: ${bad.reason}`;
  };
  assert.equal(await badAfter(lines), 'intact');
  assert.equal(await badAfter(lines.with(4, lines[4]!.replace('job-4', 'job-5'))), 'other.jsonl 5: the content does not match the hash: the line was changed');
  assert.equal(await badAfter(lines.toSpliced(4, 1)), 'other.jsonl 5: number 6 follows number 4: lines are missing, doubled or in another order');
  assert.equal(await badAfter(lines.toSpliced(4, 0, lines[4]!)), 'other.jsonl 6: number 5 follows number 5: lines are missing, doubled or in another order');
  assert.equal(await badAfter(lines.toSpliced(4, 0, 'rubbish')), 'other.jsonl 5: the line does not end with a hash');
  // Even with a hash of its own it does not fit the next one.
  const { seq, time, prev } = parseAuditLine(lines[4]!);
  assert.equal(await badAfter(lines.with(4, formatAuditLine({ seq, time, prev }, call(99)).text)), 'other.jsonl 6: it does not follow the line before: that one was changed, or put in');
  assert.equal(await badAfter(lines.with(0, formatAuditLine({ seq: 1, time, prev: lines[9]!.slice(-66, -2) }, call(0)).text)), 'other.jsonl 1: the first line follows nothing');
  assert.equal(await badAfter(lines.map((line) => line.replace('"seq"', ' "seq"'))), 'other.jsonl 1: the line is not written as it would be');
  const marked = formatAuditLine({ seq: 11, time, prev: lines[9]!.slice(-66, -2) }, { event: 'torn', auth: '', address: 'local', bytes: 7, sha256: '0'.repeat(64) }).text;
  assert.equal(await badAfter([...lines, marked]), 'other.jsonl 11: a line before it is missing: it marks one that was torn');
  assert.equal(await badAfter([...lines, 'rubbish', marked]), 'other.jsonl 11: the line does not end with a hash');
});

test('wherever a power cut ends the file, the next start goes on behind it, the chain holds, and the cut is marked', async (t) => {
  const folder = await scratch(t);
  await write(folder, 0, 3);
  const path = (await auditFiles(folder))[0]!;
  const bytes = await readFile(path);
  const secondEnd = bytes.indexOf(10, bytes.indexOf(10) + 1);
  // Every cut within the last line, and a second one within what the start after it wrote.
  for (let cut = secondEnd + 1; cut <= bytes.length; cut += 17) {
    await writeFile(path, bytes.subarray(0, cut));
    const isTorn = cut > secondEnd + 1 && cut < bytes.length - 1;
    const before = await verifyAuditFiles([path]);
    assert.equal(before.bad, null);
    assert.equal(before.unfinished, cut > secondEnd + 1 && cut < bytes.length, `${cut}`);
    await write(folder, 3, 5);
    const after = await verifyAuditFiles([path]);
    assert.equal(after.bad, null, `cut at ${cut}: ${JSON.stringify(after.bad)}`);
    assert.equal(after.torn, isTorn ? 1 : 0, `${cut}`);
    await truncate(path, cut + 100);
    await write(folder, 5, 6);
    assert.equal((await verifyAuditFiles([path])).bad, null, `second cut at ${cut + 100}`);
  }
});

test('a new file of which nothing, or less than a line, was written is gone on with', async (t) => {
  for (const left of ['', '{"seq":']) {
    const folder = await scratch(t);
    await write(folder, 0, 3);
    await writeFile(join(folder, 'audit-000000000004.jsonl'), left);
    await write(folder, 3, 5);
    const { bad, lines } = await verifyAuditFiles(await auditFiles(folder));
    assert.equal(bad, null);
    assert.equal(lines, left === '' ? 5 : 6);
  }
});

test('several processes may write: one chain', async (t) => {
  const folder = await scratch(t);
  const logs = [opened(folder, 2000).log, opened(folder, 2000).log, opened(folder, 2000).log];
  await Promise.all(logs.flatMap((log) => Array.from({ length: 10 }, (_, i) => log.append(call(i)))));
  await Promise.all(logs.map((log) => log.close()));
  const { bad, lines } = await verifyAuditFiles(await auditFiles(folder));
  assert.equal(bad, null);
  assert.equal(lines, 30);
});

test('a log that cannot be written is said once, stops nobody, and is gone on with when it can', async (t) => {
  const folder = await scratch(t);
  const blocked = join(folder, 'log');
  await writeFile(blocked, '');
  const { log, complaints } = opened(blocked);
  await log.append(call(1));
  await log.append(call(2));
  assert.equal(complaints.length, 1);
  await rm(blocked);
  await log.append(call(3));
  await log.close();
  assert.equal((await verifyAuditFiles(await auditFiles(blocked))).lines, 1);
});

test('whatever is read: a line, or a FormatError; a changed bit is found', async (t) => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.string().map((text) => `{"seq":1${text},"hash":"${'0'.repeat(64)}"}`)), (text) => {
    assert.throws(() => parseAuditLine(text), FormatError);
  }));
  const { text } = formatAuditLine({ seq: 1, time: '2026-11-25T12:00:00.000Z', prev: firstPrevious }, call(1));
  assert.equal(parseAuditLine(text).auth, 'admin@pbs!ci');
  for (let at = 0; at < text.length; at += 1) {
    const bytes = Buffer.from(text);
    bytes[at]! ^= 1;
    assert.throws(() => parseAuditLine(bytes.toString('utf8')), FormatError, `${at}`);
  }
  const path = join(await scratch(t), 'long.jsonl');
  await writeFile(path, Buffer.alloc(1_000_000, 0x61));
  await appendFile(path, `\n${text}\n`);
  assert.deepEqual((await verifyAuditFiles([path])).bad, { file: basename(path), line: 1, reason: 'the line is too long' });
});
