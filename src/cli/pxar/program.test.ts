import assert from 'node:assert/strict';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../../../test/support/golden.ts';
import { describeTree, writeRandomTree } from '../../../test/support/random-tree.ts';
import { createSplitArchive, createUnifiedArchive, inPieces } from '../../../test/support/split-archive.ts';
import type { LogLevel } from '../../terminal/log-level.ts';
import { runPxar } from './program.ts';

interface PxarRun {
  exit: number;
  stdout: string;
  bytes: Buffer;
  stderr: string;
}

async function pxar(argv: readonly string[], options: { stdin?: Buffer; logLevel?: LogLevel; interrupt?: boolean } = {}): Promise<PxarRun> {
  const out = { stdout: '', stderr: '' };
  const parts: Buffer[] = [];
  const exit = await runPxar(argv, {
    program: 'pxar',
    stdin: inPieces(options.stdin ?? Buffer.alloc(0)),
    stdout: { write: (text) => void (out.stdout += text) },
    stdoutBytes: {
      write: async (bytes) => {
        parts.push(Buffer.from(bytes));
      },
    },
    stderr: { write: (text) => void (out.stderr += text) },
    interrupts: {
      listen: (handler) => {
        if (options.interrupt === true) handler();
        return () => {};
      },
    },
    searchPath: process.env['PATH'] ?? '',
    logLevel: options.logLevel ?? 'info',
    completion: { line: undefined, point: undefined },
  });
  return { exit, ...out, bytes: Buffer.concat(parts) };
}

async function workFolder(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(() => folder[Symbol.asyncDispose]());
  return folder.path;
}

const quiet = { exit: 0, stdout: '', bytes: Buffer.alloc(0), stderr: '' };

test('an archive is made, listed and extracted; as a file, through pipes, and split', async (t) => {
  const work = await workFolder(t);
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree'));
  writeRandomTree(at('tree'), 11);
  assert.deepEqual(await pxar(['create', at('t.pxar'), at('tree')]), quiet);
  const unified = await createUnifiedArchive(at('tree'));
  assert.ok(readFileSync(at('t.pxar')).equals(unified));
  assert.equal(statSync(at('t.pxar')).mode & 0o137, 0, 'for the owner, and reading for the group');
  const piped = await pxar(['create', '-', at('tree')]);
  assert.ok(piped.bytes.equals(unified));

  assert.deepEqual(await pxar(['create', at('t.mpxar'), at('tree'), '--payload-output', at('t.ppxar'), '--exclude', '*.none']), quiet);
  const { split } = await createSplitArchive(at('tree'), new Map(), {});
  assert.ok(readFileSync(at('t.ppxar')).equals(split.payload));

  const listed = await pxar(['list', at('t.pxar')]);
  assert.equal(listed.exit, 0);
  assert.equal(listed.stdout.split('\n').length - 2, describeTree(at('tree')).length - 1, 'every entry but the root, which is there, too');
  assert.equal((await pxar(['list', '-'], { stdin: unified })).stdout, listed.stdout);
  assert.equal((await pxar(['list', at('t.mpxar'), '--payload-input', at('t.ppxar')])).stdout, listed.stdout);

  for (const [name, argv, stdin] of [
    ['file', [at('t.pxar')], undefined],
    ['pipe', ['-'], unified],
    ['split', [at('t.mpxar'), '--payload-input', at('t.ppxar')], undefined],
    ['metadata-from-pipe', ['-', '--payload-input', at('t.ppxar')], readFileSync(at('t.mpxar'))],
  ] as const) {
    assert.deepEqual(await pxar(['extract', argv[0], at(name), ...argv.slice(1)], stdin === undefined ? {} : { stdin }), quiet, name);
    assert.deepEqual(describeTree(at(name)), describeTree(at('tree')), name);
  }
  const prelude = await pxar(['extract', at('t.mpxar'), at('again'), '--payload-input', at('t.ppxar'), '--prelude-target', at('prelude')]);
  assert.deepEqual(prelude, quiet);
  assert.equal(readFileSync(at('prelude'), 'utf8'), '{"exclude-patterns":"*.none\\n"}');
});

test('the long list says what the archive keeps', async (t) => {
  const work = await workFolder(t);
  mkdirSync(join(work, 'tree'));
  writeFileSync(join(work, 'tree', 'a "b"'), 'hi\n', { mode: 0o4751 });
  linkSync(join(work, 'tree', 'a "b"'), join(work, 'tree', 'hard'));
  symlinkSync('x', join(work, 'tree', 'link'));
  await pxar(['create', join(work, 't.pxar'), join(work, 'tree')]);
  const { stdout } = await pxar(['list', join(work, 't.pxar')], { logLevel: 'debug' });
  const owner = `${process.getuid!()}/${process.getgid!()}`.padEnd(13);
  const time = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
  const [root, file, hard, link] = stdout.split('\n');
  assert.match(root!, new RegExp(`^drwx......   ${owner} ${time}        0 "/"$`));
  assert.match(file!, new RegExp(`^-rwsr-x--x   ${owner} ${time}        3 "/a \\\\"b\\\\""$`));
  assert.match(hard!, /^L---------   0\/0 {10} .{19} {8}0 "\/hard" -> "a \\"b\\""$/);
  assert.match(link!, new RegExp(`^lrwxrwxrwx   ${owner} ${time}        0 "/link" -> "x"$`));
});

test('a list passes over contents', async (t) => {
  const work = await workFolder(t);
  mkdirSync(join(work, 'tree'));
  writeFileSync(join(work, 'tree', 'first'), '');
  truncateSync(join(work, 'tree', 'first'), 8 * 1024 * 1024);
  writeFileSync(join(work, 'tree', 'last'), 'x');
  await pxar(['create', join(work, 't.pxar'), join(work, 'tree')]);
  const { stdout, exit } = await pxar(['list', join(work, 't.pxar')]);
  assert.deepEqual([exit, stdout], [0, '"/"\n"/first"\n"/last"\n']);
});

test('patterns of a file come before those of the line; the last one that matches decides', async (t) => {
  const work = await workFolder(t);
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree'));
  for (const name of ['big', 'small', 'other']) writeFileSync(at(`tree/${name}`), name);
  writeFileSync(at('patterns'), '  small \n# other\n\n!big\n');
  await pxar(['create', at('t.pxar'), at('tree')]);
  assert.deepEqual(await pxar(['extract', at('t.pxar'), at('some'), '--files-from', at('patterns'), '--pattern', 'big']), quiet);
  assert.deepEqual(readdirSync(at('some')).sort(), ['big', 'small']);
  assert.match((await pxar(['extract', at('t.pxar'), at('none'), '--pattern', 'a['])).stderr, /^Error: error in pattern: /);
  assert.match((await pxar(['create', at('n.pxar'), at('tree'), '--exclude', 'a['])).stderr, /^Error: error in exclude pattern: /);
  assert.match((await pxar(['extract', at('t.pxar'), at('none'), '--files-from', at('missing')])).stderr, /^Error: error opening ".*missing": No such file or directory \(os error 2\)\n/);
});

test('trouble with an entry is told and the rest extracted; with --strict it is the end', async (t) => {
  const work = await workFolder(t);
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree/sub'), { recursive: true });
  for (const name of ['a', 'sub/b', 'z']) writeFileSync(at(`tree/${name}`), name);
  await pxar(['create', at('t.pxar'), at('tree')]);
  for (const target of ['lax', 'strict']) {
    mkdirSync(at(`${target}/sub`), { recursive: true });
    writeFileSync(at(`${target}/sub/b`), 'kept');
  }
  const lax = await pxar(['extract', at('t.pxar'), at('lax'), '--allow-existing-dirs']);
  assert.equal(lax.exit, 255);
  assert.match(lax.stderr, /^error: error at "\/sub\/b"\n\nCaused by:\n {4}0: error at entry "b"\n {4}1: failed to extract file\n {4}2: EEXIST.*\nError: there were errors\n$/);
  assert.deepEqual([readFileSync(at('lax/z'), 'utf8'), readFileSync(at('lax/sub/b'), 'utf8')], ['z', 'kept']);
  const strict = await pxar(['extract', at('t.pxar'), at('strict'), '--allow-existing-dirs', '--strict']);
  assert.match(strict.stderr, /^Error: error extracting archive - encountered unexpected error during extraction: error at entry "b": failed to extract file: EEXIST/);
  assert.deepEqual([strict.exit, existsSync(at('strict/z'))], [255, false]);
});

test('what cannot be made leaves nothing behind; what is there stays', async (t) => {
  const work = await workFolder(t);
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree/sub'), { recursive: true });
  for (const name of ['a', 'b']) writeFileSync(at(`tree/${name}`), name);
  symlinkSync('tree', at('link'));
  const failed = async (...argv: string[]): Promise<string> => {
    const { exit, stderr } = await pxar(argv);
    assert.equal(exit, 255);
    return stderr;
  };
  assert.match(await failed('create', at('t.pxar'), at('tree'), '--entries-max', '2'), /exceeded allowed number of file entries \(> 2\)/);
  assert.match(await failed('create', at('t.pxar'), at('link')), /Too many levels of symbolic links/);
  assert.match(await failed('create', at('t.pxar'), at('tree/a')), /Not a directory/);
  assert.match(await failed('create', at('t.mpxar'), at('tree'), '--payload-output', '-'), /needs a file/);
  assert.equal((await pxar(['create', at('t.pxar'), at('tree')], { interrupt: true })).exit, 255);
  assert.deepEqual(readdirSync(work).sort(), ['link', 'tree']);
  writeFileSync(at('t.pxar'), 'mine');
  assert.match(await failed('create', at('t.pxar'), at('tree')), /File exists/);
  assert.equal(readFileSync(at('t.pxar'), 'utf8'), 'mine');
});

test('damage and missing parts are errors', async (t) => {
  const work = await workFolder(t);
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree'));
  writeFileSync(at('tree/a'), 'a'.repeat(3000));
  await pxar(['create', at('t.pxar'), at('tree')]);
  await pxar(['create', at('t.mpxar'), at('tree'), '--payload-output', at('t.ppxar')]);
  writeFileSync(at('cut.pxar'), readFileSync(at('t.pxar')).subarray(0, -100));
  for (const argv of [['list', at('cut.pxar')], ['extract', at('cut.pxar'), at('x')], ['list', at('t.mpxar')], ['list', at('t.mpxar'), '--payload-input', at('t.pxar')], ['list', at('t.ppxar')], ['extract', at('t.mpxar'), at('y')], ['extract', at('t.mpxar'), at('z'), '--payload-input', at('t.pxar')], ['list', at('missing')]]) {
    const { exit, stderr } = await pxar(argv);
    assert.deepEqual([exit, stderr.startsWith('Error: ')], [255, true], argv.join(' '));
  }
});
