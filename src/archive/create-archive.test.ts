import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, linkSync, lstatSync, mkdirSync, openSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveEvents } from '../../test/support/archive-events.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { createSplitArchive, createUnifiedArchive } from '../../test/support/split-archive.ts';
import { AbortedError, errorChain } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { MatchPattern } from '../pxar/match-pattern.ts';
import { statEntry } from '../sys/entry-calls.ts';
import { createArchive, type ArchiveRequest } from './create-archive.ts';
import { fileContent } from './file-content.ts';
import { closeNode, openNode, reopenNode, SourceNode } from './source-node.ts';

const isRoot = process.getuid!() === 0;
const exclude = (...texts: string[]): MatchPattern[] => texts.map((text) => MatchPattern.parse(text, 'exclude'));

/** Paths in an archive, in its order; contents behind `=`. */
function listed(archive: Buffer): string[] {
  const lines: string[] = [];
  const path: string[] = [];
  for (const event of archiveEvents(archive)) {
    if (event.kind === 'entry') {
      const shown = [...path, event.entry.name.toString()].slice(1).join('/');
      if (shown !== '') lines.push(shown);
      if (event.entry.type === 'directory') path.push(event.entry.name.toString());
    }
    if (event.kind === 'data') lines.push(`${lines.pop()}=${event.bytes.toString()}`);
    if (event.kind === 'directory-end') path.pop();
  }
  return lines;
}

async function archived(source: string, options: Partial<ArchiveRequest> = {}): Promise<{ lines: string[]; warnings: string[] }> {
  const warnings: string[] = [];
  const note = (line: string): void => void warnings.push(line);
  const archive = await createUnifiedArchive(source, { ...options, log: { ...silentLog, warn: note, info: note } });
  return { lines: listed(archive), warnings };
}

function writeTree(root: string, tree: Record<string, string>): void {
  for (const [path, content] of Object.entries(tree)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

test('names in the order of their bytes, hard links by the first name', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { 'a.x': '1', 'a/b': '2', B: '3', 'ä': '4', _: '5' });
  linkSync(join(folder.path, 'a/b'), join(folder.path, 'z'));
  symlinkSync('nowhere', join(folder.path, 'link'));
  const { lines, warnings } = await archived(folder.path);
  assert.deepEqual(lines, ['B=3', '_=5', 'a', 'a/b=2', 'a.x=1', 'link', 'z', 'ä=4']);
  assert.deepEqual(warnings, []);
});

test('patterns of the command line leave out, and are kept in the archive', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { 'keep.log': '', 'x.log': '', 'dir/y.log': '', 'dir/z': '', 'lost+found/q': '', '.pxarexclude-cli': 'old', 'dir/.pxarexclude-cli': 'stays' });
  const options = { patterns: exclude('*.log', '!keep.log', 'nothing/'), skipLostAndFound: true };
  const { lines } = await archived(folder.path, options);
  assert.deepEqual(lines, ['dir', 'dir/.pxarexclude-cli=stays', 'dir/z', 'keep.log', '.pxarexclude-cli=*.log\n!keep.log\nnothing/\nlost+found\n']);
  const { split } = await createSplitArchive(folder.path, new Map(), options);
  const events = archiveEvents(split.archive);
  assert.deepEqual(events[0], { kind: 'prelude', content: Buffer.from(String.raw`{"exclude-patterns":"*.log\n!keep.log\nnothing/\nlost+found\n"}`) });
  assert.ok(!listed(split.archive).includes('.pxarexclude-cli'));
  assert.equal(archiveEvents((await createSplitArchive(folder.path, new Map())).split.archive)[0]?.kind, 'entry');
  await assert.rejects(createSplitArchive(folder.path, new Map(), { patterns: [MatchPattern.parse(Buffer.from([0xff]), 'exclude')] }), { code: 'format.pattern' });
});

test('.pxarexclude files hold for their directory and below', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { '.pxarexclude': '*.o\n/top\nbad[\n', 'a.o': '', top: '', 'sub/top': '', 'sub/.pxarexclude': '!*.o\n/here\nnested/\n', 'sub/b.o': '', 'sub/here': '', 'sub/nested/x': '', 'sub/in/here': '', 'sub/in/nested': '', 'two/c.o': '', 'two/here': '' });
  const { lines, warnings } = await archived(folder.path);
  const plain = lines.map((line) => line.split('=')[0]).filter((line) => line !== undefined && !line.endsWith('.pxarexclude'));
  assert.deepEqual(plain, ['sub', 'sub/b.o', 'sub/in', 'sub/in/here', 'sub/in/nested', 'sub/top', 'two', 'two/here']);
  assert.equal(warnings.length, 1);
  // A device or a folder of that name is no list of patterns.
  mkdirSync(join(folder.path, 'two/.pxarexclude'));
  const again = await archived(join(folder.path, 'two'));
  assert.match(again.warnings.join(), /ignoring all patterns of "\.pxarexclude"/);
});

test('virtual file systems are refused as source and left empty inside', async () => {
  await assert.rejects(createUnifiedArchive('/proc'), { code: 'store.source', message: 'refusing to backup a virtual file system' });
  const only = exclude('/*', '!/proc');
  for (const devices of [[], 'all'] as const) {
    const { lines, warnings } = await archived('/', { patterns: only, devices });
    assert.deepEqual(lines, ['proc', '.pxarexclude-cli=/*\n!/proc\n']);
    assert.deepEqual(warnings, ['skipping mount point: "proc"']);
  }
});

test('other file systems are left empty unless they are wanted', async () => {
  const crossing = lstatSync('/dev/shm', { bigint: true }).dev;
  const patterns = exclude('/*', '!/shm', '/shm/*');
  const info = async (devices: readonly bigint[] | 'all'): Promise<string[]> => (await archived('/dev', { patterns, devices })).warnings;
  assert.notEqual(crossing, lstatSync('/dev', { bigint: true }).dev);
  assert.deepEqual(await info([]), ['skipping mount point: "shm"']);
  assert.deepEqual(await info([crossing]), []);
  assert.deepEqual(await info('all'), []);
});

test('entries are limited by what is held at a time', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { 'a/1': '', 'a/2': '', 'b/1': '', 'b/2': '' });
  await archived(folder.path, { entriesMax: 4 });
  await assert.rejects(archived(folder.path, { entriesMax: 3 }), { message: 'exceeded allowed number of file entries (> 3)' });
});

test('what may not be read is warned of and left out', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { 'locked/x': '', secret: '', z: '' });
  for (const name of ['locked', 'secret']) chmodSync(join(folder.path, name), 0);
  const { lines, warnings } = await archived(folder.path);
  assert.deepEqual(lines, isRoot ? ['locked', 'locked/x', 'secret', 'z'] : ['z']);
  assert.deepEqual(warnings, isRoot ? [] : ['skipping "locked": access denied', 'skipping "secret": access denied']);
  chmodSync(join(folder.path, 'locked'), 0o700);
});

function openedNode(folder: string, name: string, folderPath = ''): SourceNode {
  const directory = openSync(folder, 'r');
  try {
    const node = new SourceNode(Buffer.from(name), Buffer.from(folderPath), statEntry(directory, Buffer.from(name)));
    openNode(directory, node);
    return node;
  } finally {
    closeSync(directory);
  }
}

test('a file that changes while it is read has the size that it had', async () => {
  await using folder = await temporaryFolder();
  for (const size of [10, 3_000_000]) {
    writeFileSync(join(folder.path, 'f'), Buffer.alloc(size, 'a'));
    for (const [change, expected] of [[0, null], [1, 'file size increased while reading: "f", truncated'], [-1, 'file size shrunk while reading: "f", padded with zeros']] as const) {
      const node = openedNode(folder.path, 'f');
      const warnings: string[] = [];
      writeFileSync(join(folder.path, 'f'), Buffer.alloc(size + 5 * change, 'a'));
      const pieces: Buffer[] = [];
      for await (const piece of fileContent(node, { ...silentLog, warn: (line) => warnings.push(line) })) pieces.push(piece);
      closeSync(node.fd!);
      const content = Buffer.concat(pieces);
      assert.ok(content.equals(Buffer.concat([Buffer.alloc(Math.min(size, size + 5 * change), 'a'), Buffer.alloc(change < 0 ? 5 : 0)])));
      assert.deepEqual(warnings, expected === null ? [] : [expected]);
      writeFileSync(join(folder.path, 'f'), Buffer.alloc(size, 'a'));
    }
  }
});

test('something else in the place of a file is passed over', async () => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'f'), '');
  const directory = openSync(folder.path, 'r');
  const node = new SourceNode(Buffer.from('f'), Buffer.alloc(0), statEntry(directory, Buffer.from('f')));
  rmSync(join(folder.path, 'f'));
  assert.throws(() => openNode(directory, node), { code: 'ENOENT' });
  execFileSync('mkfifo', [join(folder.path, 'f')]);
  assert.throws(() => openNode(directory, node), { code: 'ESTALE' });
  closeSync(directory);
});

test('a file that waited is opened again only if it is the same', async () => {
  await using folder = await temporaryFolder();
  mkdirSync(join(folder.path, 'sub'));
  writeFileSync(join(folder.path, 'sub/f'), 'first');
  const root = openSync(folder.path, 'r');
  const node = openedNode(join(folder.path, 'sub'), 'f', 'sub');
  closeNode(node);
  reopenNode(root, node);
  closeNode(node);
  writeFileSync(join(folder.path, 'other'), 'other');
  renameSync(join(folder.path, 'other'), join(folder.path, 'sub/f'));
  assert.throws(() => reopenNode(root, node), { code: 'ESTALE' });
  rmSync(join(folder.path, 'sub/f'));
  assert.throws(() => reopenNode(root, node), { code: 'ENOENT' });
  assert.equal(node.fd, null);
  closeSync(root);
});

test('errors name the source; sinks, aborts and missing folders end it', async () => {
  await using folder = await temporaryFolder();
  writeTree(folder.path, { a: 'x' });
  await assert.rejects(createUnifiedArchive(join(folder.path, 'none')), (e) => /^unable to open ".*none": ENOENT/.test(errorChain(e)));
  await assert.rejects(createUnifiedArchive(join(folder.path, 'a')), { code: 'store.source' });
  await assert.rejects(archived(folder.path, { signal: AbortSignal.abort() }), AbortedError);
  const broken = new Error('no more');
  await assert.rejects(createArchive({ source: folder.path, log: silentLog, sinks: { archive: { write: () => Promise.reject(broken) } } }), broken);
});
