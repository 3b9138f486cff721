import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeEvents, archiveEvents, readerOf } from '../../test/support/archive-events.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { device, fifo, file, hardlink, madeArchive, madeTime, socket, symlink, type MadeDirectory } from '../../test/support/made-archive.ts';
import { inPieces } from '../../test/support/split-archive.ts';
import { AbortedError, errorChain, FormatError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { MatchPattern } from '../pxar/match-pattern.ts';
import { RandomPayload } from '../pxar/payload-source.ts';
import { getXattr } from '../sys/xattr.ts';
import { extractArchive, type ExtractRequest } from './extract-archive.ts';

const isRoot = process.getuid!() === 0;

async function extract(archive: Buffer, target: string, options: Partial<ExtractRequest> = {}): Promise<void> {
  await extractArchive({ log: silentLog, ...options, archive: inPieces(archive, 1000), target });
}

/** All paths below a folder, sorted. */
function paths(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted();
}

const include = (...texts: string[]): MatchPattern[] => texts.map((text) => MatchPattern.parse(text, 'include'));
const sample: MadeDirectory = { a: 'one', dir: { b: 'two', deep: { c: 'three' } }, empty: {}, link: symlink('a'), pipe: fifo() };

test('everything comes back with its times and modes; parents of the target are made', async () => {
  await using folder = await temporaryFolder();
  const target = join(folder.path, 'x', 'y');
  await extract(madeArchive({ ...sample, sock: socket(), hard: file('linked', { position: 1 }), harder: hardlink(1, 'hard') }, { mode: 0o40711 }), target);
  assert.deepEqual(paths(target), ['a', 'dir', 'dir/b', 'dir/deep', 'dir/deep/c', 'empty', 'hard', 'harder', 'link', 'pipe', 'sock']);
  assert.equal(readFileSync(join(target, 'dir/deep/c'), 'utf8'), 'three');
  for (const path of ['.', ...paths(target)]) assert.equal(lstatSync(join(target, path), { bigint: true }).mtimeNs, madeTime, path);
  assert.equal(statSync(target).mode & 0o7777, 0o711);
  assert.equal(lstatSync(join(target, 'pipe')).mode, 0o10640);
  assert.equal(statSync(join(target, 'harder')).ino, statSync(join(target, 'hard')).ino);
  await assert.rejects(extract(madeArchive({}), join(target, 'a')), { code: 'store.target' });
});

test('modes that keep the owner out do not stop the restore; the root keeps its own metadata if so wanted', async () => {
  await using folder = await temporaryFolder();
  const archive = encodeEvents(
    archiveEvents(madeArchive({ locked: { inside: 'x' } })).map((event) => {
      if (event.kind === 'entry' && event.entry.type === 'directory') event.entry.metadata.mode = event.entry.name.length > 0 ? 0o40500 : 0o40555;
      return event;
    }),
    null,
  ).archive;
  const target = join(folder.path, 'to');
  await extract(archive, target, { rootMetadata: false });
  assert.equal(statSync(join(target, 'locked')).mode & 0o7777, 0o500);
  assert.equal(statSync(target).mode & 0o7777, 0o700);
  assert.equal(readFileSync(join(target, 'locked/inside'), 'utf8'), 'x');
  chmodSync(join(target, 'locked'), 0o700);
});

test('holes are made where there are zeros', async () => {
  await using folder = await temporaryFolder();
  const content = Buffer.concat([Buffer.alloc(300_000), Buffer.from('middle'), Buffer.alloc(5_000_000), Buffer.from('end'), Buffer.alloc(100_000)]);
  await extract(madeArchive({ sparse: file(content), zeros: file(Buffer.alloc(9000)), tiny: file(Buffer.alloc(1)) }), join(folder.path, 'to'));
  const path = join(folder.path, 'to/sparse');
  assert.ok(readFileSync(path).equals(content));
  assert.ok(statSync(path).blocks * 512 < 100_000, `${statSync(path).blocks} blocks`);
  assert.equal(statSync(join(folder.path, 'to/zeros')).size, 9000);
  assert.equal(statSync(join(folder.path, 'to/tiny')).size, 1);
});

test('patterns select (spec pxar 8.3)', async () => {
  await using folder = await temporaryFolder();
  const archive = madeArchive({ ...sample, hard: file('h', { position: 1 }), harder: hardlink(1, 'hard') });
  const cases: Array<[string[], string[]]> = [
    [['dir'], ['dir', 'dir/b', 'dir/deep', 'dir/deep/c']],
    [['**/c'], ['dir', 'dir/deep', 'dir/deep/c']],
    [['dir', '!b'], ['dir', 'dir/deep', 'dir/deep/c']],
    [['dir', '!deep'], ['dir', 'dir/b']],
    [['dir', '!deep', 'c'], ['dir', 'dir/b', 'dir/deep', 'dir/deep/c']],
    [['empty'], []],
    [['*/'], ['dir', 'dir/b', 'dir/deep', 'dir/deep/c']],
    [['/a', 'link'], ['a', 'link']],
    [['nothing'], []],
    [['har*'], ['hard', 'harder']],
  ];
  for (const [i, [patterns, expected]] of cases.entries()) {
    const target = join(folder.path, String(i));
    await extract(archive, target, { patterns: include(...patterns) });
    assert.deepEqual(paths(target), expected, patterns.join(' '));
  }
  await assert.rejects(extract(archive, join(folder.path, 'x'), { patterns: include('harder') }), (e) => errorChain(e).startsWith('error at entry "harder": failed to extract hardlink: ENOENT'));
});

test('what exists stays, unless it may be overwritten', async () => {
  await using folder = await temporaryFolder();
  const target = join(folder.path, 'to');
  const archive = madeArchive({ dir: { f: 'new' }, hard: file('h', { position: 1 }), harder: hardlink(1, 'hard'), link: symlink('new') });
  await extract(archive, target);
  await assert.rejects(extract(archive, target), (e) => errorChain(e).startsWith('error at entry "dir": failed to enter directory: EEXIST'));
  writeFileSync(join(target, 'dir/f'), 'old and long');
  await assert.rejects(extract(archive, target, { allowExistingDirectories: true }), (e) => errorChain(e).startsWith('error at entry "f": failed to extract file: EEXIST'));
  assert.equal(readFileSync(join(target, 'dir/f'), 'utf8'), 'old and long');
  await assert.rejects(extract(archive, target, { allowExistingDirectories: true, overwrite: { files: true } }), (e) => /"harder": failed to extract hardlink: EEXIST/.test(errorChain(e)));
  await assert.rejects(extract(archive, target, { allowExistingDirectories: true, overwrite: { files: true, hardLinks: true } }), (e) => /"link": failed to extract symlink: EEXIST/.test(errorChain(e)));
  await extract(archive, target, { allowExistingDirectories: true, overwrite: { files: true, hardLinks: true, symlinks: true } });
  assert.equal(readFileSync(join(target, 'dir/f'), 'utf8'), 'new');
  assert.equal(statSync(join(target, 'harder')).ino, statSync(join(target, 'hard')).ino);
});

test('links that are in the target already lead nowhere', async () => {
  await using folder = await temporaryFolder();
  const target = join(folder.path, 'to');
  const outside = join(folder.path, 'outside');
  for (const path of [target, outside]) mkdirSync(path);
  writeFileSync(join(outside, 'f'), 'untouched');
  symlinkSync(outside, join(target, 'dir'));
  symlinkSync(join(outside, 'f'), join(target, 'file'));
  const everything = { allowExistingDirectories: true, overwrite: { files: true, hardLinks: true, symlinks: true } };
  await assert.rejects(extract(madeArchive({ dir: { f: 'evil' } }), target, everything), (e) => /"dir": failed to enter directory: (ENOTDIR|ELOOP)/.test(errorChain(e)));
  await extract(madeArchive({ file: 'own' }), target, everything);
  assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'own');
  assert.ok(lstatSync(join(target, 'file')).isFile());
  // An archive that makes a link and then goes through it.
  await extract(madeArchive({ way: symlink(outside) }), target, everything);
  await assert.rejects(extract(madeArchive({ way: { f: 'evil' } }), target, everything), /entry "way"/);
  await assert.rejects(extract(madeArchive({ hard: file('h', { position: 1 }), stolen: hardlink(1, 'dir/f') }), target, everything), (e) => /"stolen": failed to extract hardlink: (ENOTDIR|ELOOP)/.test(errorChain(e)));
  assert.deepEqual(readdirSync(outside), ['f']);
  assert.equal(readFileSync(join(outside, 'f'), 'utf8'), 'untouched');
});

test('an overwritten file keeps its other names; what is no file is refused and does not hang', async () => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'f'), 'old');
  linkSync(join(folder.path, 'f'), join(folder.path, 'other'));
  await extract(madeArchive({ f: 'new' }), folder.path, { overwrite: { files: true } });
  assert.equal(readFileSync(join(folder.path, 'other'), 'utf8'), 'new');
  execFileSync('mkfifo', [join(folder.path, 'pipe')]);
  mkdirSync(join(folder.path, 'dir'));
  for (const name of ['pipe', 'dir']) await assert.rejects(extract(madeArchive({ [name]: 'x' }), folder.path, { overwrite: { files: true } }), { code: 'store.target' }, name);
  await assert.rejects(extract(madeArchive({ dir: symlink('x') }), folder.path, { overwrite: { symlinks: true } }), { code: 'store.target' });
});

test('hard links out of the target are damage, whoever handles errors', async () => {
  await using folder = await temporaryFolder();
  for (const path of ['../outside', '/etc/passwd', 'a/../../x', 'a//b', './a', 'a\0b']) {
    const archive = madeArchive({ f: file('x', { position: 1 }), g: hardlink(1, path) });
    await assert.rejects(extract(archive, join(folder.path, 'to'), { onError: () => {}, overwrite: { files: true } }), FormatError, path);
  }
  await assert.rejects(extract(madeArchive({ 'a\0b': 'x' }), join(folder.path, 'nul'), { onError: () => {} }), FormatError);
  await assert.rejects(extract(madeArchive({ 'a\0b': {} }), join(folder.path, 'nul'), { onError: () => {} }), FormatError);
  await assert.rejects(extract(madeArchive(sample).subarray(0, -10), join(folder.path, 'cut')), FormatError);
});

test('a handler may go on: a directory that cannot be entered is passed over with all in it, once', async () => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'dir'), 'in the way');
  const errors: string[] = [];
  await extract(madeArchive({ ...sample, z: 'last' }), folder.path, { onError: (error, step) => errors.push(`${step} | ${errorChain(error)}`) });
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /^enter directory \| error at entry "dir": failed to enter directory: EEXIST/);
  assert.deepEqual(paths(folder.path), ['a', 'dir', 'empty', 'link', 'pipe', 'z']);
  assert.equal(readFileSync(join(folder.path, 'z'), 'utf8'), 'last');
});

test('features that are off are left out', async () => {
  await using folder = await temporaryFolder();
  const archive = madeArchive({ f: file('x', { metadata: { mode: 0o100604, xattrs: [{ name: Buffer.from('user.t'), value: Buffer.from('v') }] } }), pipe: fifo(), sock: socket(), null: device(1, 3) });
  const off = { permissions: false, xattrs: false, fifos: false, sockets: false, devices: false };
  await extract(archive, join(folder.path, 'a'), { features: off });
  assert.deepEqual(paths(join(folder.path, 'a')), ['f']);
  assert.equal(statSync(join(folder.path, 'a/f')).mode & 0o7777, 0o600);
  assert.equal(getXattr(join(folder.path, 'a/f'), 'user.t'), null);
  const failed: string[] = [];
  await extract(archive, join(folder.path, 'b'), { onError: (_error, step) => failed.push(step) });
  assert.deepEqual(failed, isRoot ? [] : ['extract device']);
  assert.equal(statSync(join(folder.path, 'b/f')).mode & 0o7777, 0o604);
  assert.equal(getXattr(join(folder.path, 'b/f'), 'user.t')?.toString(), 'v');
  if (isRoot) assert.equal(statSync(join(folder.path, 'b/null')).rdev, 0x103);
});

test('invalid attribute names are warned of, and ownership fails for who may not give files away', async () => {
  await using folder = await temporaryFolder();
  const warnings: string[] = [];
  const archive = madeArchive({ f: file('x', { metadata: { uid: 12_345, xattrs: [{ name: Buffer.from('security.evil'), value: Buffer.from('v') }] } }) });
  const failed: string[] = [];
  await extract(archive, folder.path, { log: { ...silentLog, warn: (line) => warnings.push(line) }, onError: (error) => failed.push(errorChain(error)) });
  assert.deepEqual(warnings, ['skipping invalid extended attribute "security.evil" of "f"']);
  if (isRoot) assert.equal(statSync(join(folder.path, 'f')).uid, 12_345);
  else assert.match(failed.join(), /^error at entry "f": failed to extract file: failed to set ownership: EPERM/);
});

test('split archives: contents from the payload, the prelude to its file', async () => {
  await using folder = await temporaryFolder();
  const { archive, payload } = encodeEvents([{ kind: 'prelude', content: Buffer.from('{"x":1}') }, ...archiveEvents(madeArchive({ a: '', link: symlink('x') }))], Buffer.alloc(0));
  const source = (): RandomPayload => new RandomPayload(readerOf(payload), payload.length);
  const preludeTarget = join(folder.path, 'prelude');
  await extract(archive, join(folder.path, 'a'), { payload: source(), preludeTarget });
  assert.equal(readFileSync(preludeTarget, 'utf8'), '{"x":1}');
  await assert.rejects(extract(archive, join(folder.path, 'b'), { payload: source(), preludeTarget }), { code: 'store.target' });
  await extract(archive, join(folder.path, 'c'), { payload: source(), preludeTarget, overwrite: { files: true } });
  await assert.rejects(extract(archive, join(folder.path, 'd')), FormatError);
  const lines: string[] = [];
  await extract(madeArchive({}), join(folder.path, 'e'), { preludeTarget: join(folder.path, 'none'), log: { ...silentLog, info: (line) => lines.push(line) } });
  assert.equal(lines.length, 1);
  assert.ok(!existsSync(join(folder.path, 'none')));
});

test('an abort ends it, an error of the handler passes through, and nothing stays open', async () => {
  await using folder = await temporaryFolder();
  const open = (): number => readdirSync('/proc/self/fd').length;
  const before = open();
  await assert.rejects(extract(madeArchive(sample), join(folder.path, 'a'), { signal: AbortSignal.abort() }), AbortedError);
  writeFileSync(join(folder.path, 'dir'), '');
  const own = new Error('enough');
  await assert.rejects(extract(madeArchive(sample), folder.path, { onError: () => { throw own; } }), own);
  await assert.rejects(extract(madeArchive({ d: { e: { f: file(Buffer.alloc(5000, 1)) } } }).subarray(0, 2000), join(folder.path, 'b')), FormatError);
  assert.equal(open(), before);
});
