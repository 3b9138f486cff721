import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { madeArchive, type MadeDirectory } from '../../../test/support/made-archive.ts';
import { ArchiveAccessor } from '../../pxar/archive-accessor.ts';
import { StreamLineInput, type LineCandidates, type LineInput, type LineReading } from '../../terminal/line-input.ts';
import { CommandAbort, runShell } from './run-shell.ts';
import { ArchiveNames, ShellTree } from './shell-tree.ts';

const content: MadeDirectory = { dir: { sub: { deep: 'x' }, 'two words': '1', soup: '2' }, dandelion: '3', z: '4' };

interface Played {
  out: string;
  err: string;
}

/** Runs a shell over `content`. `gate`: every read of the archive waits for it. */
async function play(input: LineInput, options: { abort?: CommandAbort; signal?: AbortSignal; gate?: () => Promise<void> } = {}): Promise<Played> {
  const bytes = madeArchive(content);
  const abort = options.abort ?? new CommandAbort();
  const readAt = abort.wrap(async (offset, length) => {
    await options.gate?.();
    return bytes.subarray(offset, offset + length);
  });
  const archive = new ArchiveAccessor(readAt, bytes.length);
  const played = { out: '', err: '' };
  await runShell(new ShellTree(await ArchiveNames.open(archive), archive), {
    input,
    output: { write: (piece) => Promise.resolve(void (played.out += Buffer.from(piece).toString())) },
    stderr: { write: (text) => void (played.err += text) },
    timeZone: 'UTC',
    signal: options.signal ?? new AbortController().signal,
    abort,
  });
  return played;
}

function typed(work: (reading: LineReading) => AsyncGenerator<string>): LineInput {
  return {
    lines: async function* (reading) {
      for await (const line of work(reading)) yield Buffer.from(line);
    },
  };
}

test('Ctrl-C ends the command that runs, whatever it waits for, and not the shell', async () => {
  const abort = new CommandAbort();
  let isSlow = false;
  let interrupt: () => void = () => {};
  const played = await play(
    typed(async function* (reading) {
      assert.equal(reading.prompt(), 'pxar:/ > ');
      assert.equal(reading.interrupt(), false, 'nothing runs');
      isSlow = true;
      interrupt = () => assert.equal(reading.interrupt(), true);
      yield 'ls dir';
      isSlow = false;
      yield 'cd dir';
      assert.equal(reading.prompt(), 'pxar:/dir > ');
      yield 'ls';
    }),
    {
      abort,
      gate: () => {
        if (!isSlow) return Promise.resolve();
        queueMicrotask(interrupt);
        // Never: as from a line that hangs.
        return new Promise(() => {});
      },
    },
  );
  assert.deepEqual(played, { out: 'soup\nsub\ntwo words\n', err: 'Error: interrupted\n' });
});

test('completion: commands, then names, escaped', async () => {
  await play(
    typed(async function* (reading) {
      const complete = (line: string): Promise<LineCandidates> => reading.complete(line);
      assert.deepEqual(await complete('re'), { candidates: ['restore ', 'restore-selected '], replaced: 're' });
      assert.deepEqual(await complete('ls d'), { candidates: ['dandelion ', 'dir/'], replaced: 'd' });
      assert.deepEqual(await complete('cd d'), { candidates: ['dir/'], replaced: 'd' });
      assert.deepEqual(await complete('ls '), { candidates: ['dandelion ', 'dir/', 'z '], replaced: '' });
      assert.deepEqual(await complete('ls dir/'), { candidates: ['dir/soup ', 'dir/sub/', 'dir/two\\ words '], replaced: 'dir/' });
      assert.deepEqual(await complete('ls dir/two\\ '), { candidates: ['dir/two\\ words '], replaced: 'dir/two\\ ' });
      assert.deepEqual(await complete('ls "dir/so'), { candidates: ['dir/soup '], replaced: '"dir/so' });
      for (const line of ['ls nothing/x', 'pwd x', 'bogus x', 'ls z/x']) assert.deepEqual((await complete(line).catch(() => ({ candidates: [] }))).candidates, [], line);
      yield 'cd dir';
      assert.deepEqual(await complete('stat su'), { candidates: ['sub/'], replaced: 'su' });
      assert.deepEqual(await complete('stat /d'), { candidates: ['/dandelion ', '/dir/'], replaced: '/d' });
    }),
  );
});

test('a signal ends the shell, also where it waits for a line', async () => {
  for (const isTTY of [false, true]) {
    const input: PassThrough & { isTTY?: boolean } = new PassThrough();
    if (isTTY) input.isTTY = true;
    const controller = new AbortController();
    const output = new PassThrough();
    const started = play(new StreamLineInput(input, output), { signal: controller.signal });
    input.write('pwd\n');
    // It is waiting for the next line, or about to.
    setImmediate(() => controller.abort());
    assert.equal((await started).err, '');
  }
});

test('lines of a terminal are edited and completed there', async () => {
  const input: PassThrough & { isTTY?: boolean } = new PassThrough();
  input.isTTY = true;
  const output = new PassThrough();
  let shown = '';
  let look: () => void = () => {};
  output.on('data', (piece: Buffer) => {
    shown += piece.toString();
    look();
  });
  const seen = (text: string): Promise<void> =>
    new Promise((resolve) => {
      look = () => void (shown.includes(text) && resolve());
      look();
    });
  const running = play(new StreamLineInput(input, output));
  await seen('pxar:/ > ');
  input.write('cd di');
  await seen('cd di');
  input.write('\t');
  await seen('r/');
  input.write('su');
  await seen('su');
  input.write('\t');
  await seen('b/');
  input.write('\r');
  await seen('pxar:/dir/sub > ');
  // What was begun is dropped.
  input.write('oops');
  await seen('oops');
  input.write('\u0003');
  await seen('^C');
  input.write('pwd\r');
  input.write('\u0004');
  const played = await running;
  assert.deepEqual(played, { out: '"/dir/sub"\n', err: '' });
});

test('a last line without its end counts, and bytes that are no text come through', async () => {
  const { out, err } = await play(new StreamLineInput(new PassThrough().end(Buffer.concat([Buffer.from('pwd\nstat a'), Buffer.of(0xff)])), new PassThrough()));
  assert.deepEqual([out, err], ['"/"\n', 'Error: no such file or directory: "a\\xFF"\n']);
});
