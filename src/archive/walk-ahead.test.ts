import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, linkSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveEvents } from '../../test/support/archive-events.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { createSplitArchive, SplitArchive, type ChunkStore } from '../../test/support/split-archive.ts';
import { silentLog } from '../base/log.ts';
import { WalkAhead } from '../sys/walk-ahead.ts';
import { createArchive } from './create-archive.ts';

const options = { xattrs: true, quotaProjectId: false, leftOut: '.pxarexclude' };

function names(archive: Buffer): string[] {
  return archiveEvents(archive).flatMap((event) => (event.kind === 'entry' && event.entry.name.length > 0 ? [event.entry.name.toString()] : []));
}

test('the archive is the same as without it: patterns, links, depth, many entries, directories that may not be read', async () => {
  await using folder = await temporaryFolder();
  const root = join(folder.path, 'tree');
  const write = (path: string, content = path): void => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  // More than one slice, and directories between its files.
  for (let i = 0; i < 2500; i += 1) write(`many/f-${i}`);
  for (let i = 0; i < 2500; i += 500) for (const name of ['x', 'y/z']) write(`many/f-${i}-d/${name}`);
  write(`${'deep/'.repeat(300)}file`);
  for (const name of ['.pxarexclude', 'a.o', 'kept', 'sub/b.o', 'sub/kept']) write(`patterns/${name}`, '*.o\n');
  write('patterns.after');
  write('.pxarexclude-cli');
  write('below/.pxarexclude-cli');
  mkdirSync(join(root, 'empty'));
  linkSync(join(root, 'many/f-7'), join(root, 'z-link'));
  symlinkSync('nowhere', join(root, 'symlink'));
  execFileSync('mkfifo', [join(root, 'fifo')]);
  write('locked/file');
  chmodSync(join(root, 'locked'), 0);
  const store: ChunkStore = new Map();
  const averageChunk = 4096;
  const { split: first } = await createSplitArchive(root, store, { averageChunk });
  // Something is new, gone, and not the same.
  write('many/f-1100', 'changed');
  write('many/f-1100a');
  write('many/f-1000-d/new/file');
  rmSync(join(root, 'many/f-1200'));
  const results = [];
  for (const walkAhead of [true, false]) {
    const warnings: string[] = [];
    const { split, summary } = await createSplitArchive(root, store, { averageChunk, previous: first.previous, walkAhead, log: { ...silentLog, warn: (line) => warnings.push(line) } });
    results.push({ archive: split.archive, payload: split.payload, summary, warnings });
  }
  chmodSync(join(root, 'locked'), 0o700);
  const [ahead, plain] = results as [(typeof results)[0], (typeof results)[0]];
  assert.ok(ahead.archive.equals(plain.archive) && ahead.payload.equals(plain.payload));
  assert.deepEqual(ahead.summary, plain.summary);
  assert.deepEqual(ahead.warnings, plain.warnings);
  assert.ok(ahead.summary.reusedFiles > 2000);
  const found = new Set(names(ahead.archive));
  for (const [name, isThere] of [['b.o', false], ['kept', true], ['patterns.after', true], ['f-1100a', true], ['f-1200', false], ['fifo', true]] as const) assert.equal(found.has(name), isThere, name);
  assert.equal(names(ahead.archive).filter((name) => name === '.pxarexclude-cli').length, 1);
});

test('a tree with patterns in its root is listed by the caller', async () => {
  await using folder = await temporaryFolder();
  for (const name of ['.pxarexclude', 'a', 'b.o']) writeFileSync(join(folder.path, name), '*.o\n');
  const store: ChunkStore = new Map();
  const { split: first } = await createSplitArchive(folder.path, store);
  const { split } = await createSplitArchive(folder.path, store, { previous: first.previous });
  assert.deepEqual(names(split.archive), ['.pxarexclude', 'a']);
});

test('a file that changes after it was looked at is archived as it is when it is read, or passed over', async () => {
  await using folder = await temporaryFolder();
  const root = join(folder.path, 'tree');
  mkdirSync(root);
  const path = (name: string): string => join(root, name);
  for (const name of ['a', 'fifo', 'gone', 'other', 'same']) writeFileSync(path(name), `old ${name}`);
  const store: ChunkStore = new Map();
  const { split: first } = await createSplitArchive(root, store);
  // Large enough to be written while the others wait; all are looked at again.
  writeFileSync(path('a'), Buffer.alloc(300_000, 'a'));
  for (const name of ['fifo', 'gone', 'other']) utimesSync(path(name), 1, 1);
  const split = new SplitArchive(store, 64 * 1024);
  const warnings: string[] = [];
  let isChanged = false;
  const { sinks } = split;
  const payload = {
    write: (bytes: Buffer) => {
      split.write(bytes);
      if (isChanged || bytes.length < 100_000) return;
      isChanged = true;
      writeFileSync(join(folder.path, 'new'), 'another file');
      renameSync(join(folder.path, 'new'), path('other'));
      for (const name of ['fifo', 'gone']) rmSync(path(name));
      execFileSync('mkfifo', [path('fifo')]);
    },
    suggest: (position: number) => split.suggest(position),
    inject: (injection: Parameters<typeof split.inject>[0]) => split.inject(injection),
  };
  await createArchive({ source: root, sinks: { archive: sinks.archive, payload }, previous: first.previous, log: { ...silentLog, warn: (line) => warnings.push(line) } });
  split.finish();
  assert.ok(isChanged);
  assert.deepEqual(names(split.archive), ['a', 'other', 'same']);
  assert.ok(split.payload.includes('another file'));
  assert.deepEqual(warnings, ['skipping "fifo": something else took its place', 'skipping "gone": vanished']);
});

test('the thread ends with whoever started it, and leaves nothing open', async () => {
  await using folder = await temporaryFolder();
  for (let i = 0; i < 4; i += 1) {
    mkdirSync(join(folder.path, `d-${i}`));
    for (let k = 0; k < 300; k += 1) writeFileSync(join(folder.path, `d-${i}`, `f-${k}`), '');
  }
  const fd = openSync(folder.path, 'r');
  const openBelow = (): number => readdirSync('/proc/self/fd').length;
  const before = openBelow();
  {
    // It is held up far from the end, with directories open.
    await using walk = new WalkAhead(fd, { ...options, mostAhead: 100 });
    const entries = await walk.listing(walk.root);
    let directories = 0;
    for await (const slice of entries!) directories += slice.filter(({ directory }) => directory !== null).length;
    assert.equal(directories, 4);
  }
  assert.ok(openBelow() <= before);
  {
    // Directories that are not asked for are passed over; after the end there is nothing.
    await using walk = new WalkAhead(fd, { ...options, mostAhead: 100 });
    let last = 0;
    for await (const slice of (await walk.listing(walk.root))!) last = slice.at(-1)!.directory!;
    let files = 0;
    for await (const slice of (await walk.listing(last))!) files += slice.filter(({ flags }) => flags !== null).length;
    assert.equal(files, 300);
    assert.equal(await walk.listing(1), null);
  }
  closeSync(fd);
});
