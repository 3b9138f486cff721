import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, linkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { BackupGround } from '../../../test/support/backup-ground.ts';
import { fixturePath, goldenPassphrase } from '../../../test/support/golden.ts';
import { describeTree, SeededRandom, writeRandomTree } from '../../../test/support/random-tree.ts';
import { setFileTimes } from '../../sys/file-times.ts';
import { setXattr } from '../../sys/xattr.ts';
import { bytesOfText, textOfBytes } from './byte-text.ts';
import { escapedWord, shellWords, splitWords } from './shell-words.ts';

const key = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];
const env = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };
const kinds = [
  { name: 'with a catalog', options: [], key: [] },
  { name: 'split', options: ['--change-detection-mode', 'metadata'], key: [] },
  { name: 'encrypted', options: key, key },
];

/** The tree whose transcript the reference's shell gave, too. */
function writeTree(tree: string): void {
  mkdirSync(join(tree, 'dir/sub'), { recursive: true });
  writeFileSync(join(tree, 'a'), 'hi\n');
  chmodSync(join(tree, 'a'), 0o644);
  linkSync(join(tree, 'a'), join(tree, 'dir/hard'));
  symlinkSync('a', join(tree, 'l'));
  symlinkSync('dir', join(tree, 'ld'));
  symlinkSync('loop', join(tree, 'loop'));
  writeFileSync(Buffer.concat([Buffer.from(join(tree, 'b')), Buffer.of(0xff)]), 'x');
  writeFileSync(join(tree, 'dir/big'), new SeededRandom(1).noise(3_000_000));
  writeFileSync(join(tree, 'dir/sub/x.txt'), '1');
  setXattr(join(tree, 'a'), 'user.k', Buffer.from('val'));
  setFileTimes(join(tree, 'a'), { atime: 'keep', mtime: 1_577_934_245_123_456_789n });
}

interface Shell {
  ground: BackupGround;
  /** Runs lines, and returns what was written to stdout and stderr. */
  run: (lines: string | Buffer) => Promise<{ out: string; bytes: Buffer; err: string }>;
}

async function shell(t: TestContext, kind: (typeof kinds)[number]): Promise<Shell> {
  const ground = await BackupGround.make(t);
  const tree = ground.path('tree');
  mkdirSync(tree);
  writeTree(tree);
  const { snapshot, exit, stderr } = await ground.backUp([`root.pxar:${tree}`, ...kind.options], { env });
  assert.equal(exit, 0, stderr);
  return {
    ground,
    run: async (input) => {
      const run = await ground.home.run(['catalog', 'shell', snapshot, 'root.pxar', ...kind.key], { env, input });
      assert.equal(run.exit, 0, run.stderr);
      const start = run.stderr.indexOf('Starting interactive shell\n');
      assert.ok(start >= 0);
      return { out: run.bytes.toString(), bytes: run.bytes, err: run.stderr.slice(start + 'Starting interactive shell\n'.length) };
    },
  };
}

/** First lines of errors. */
function errors(err: string): string[] {
  return [...err.matchAll(/^Error: (.*)$/gm)].map((match) => match[1]!);
}

suite('an archive is looked into', () => {
  for (const kind of kinds) {
    test(kind.name, async (t) => {
      const { run, ground } = await shell(t, kind);
      const walk = await run('pwd\nls dir\nls ld\ncd dir\npwd\nls ..\ncd ../../..\npwd\ncd sub\ncd dir/sub\npwd\ncd\npwd\n');
      assert.deepEqual(walk.bytes, Buffer.from(['"/"', 'big', 'hard', 'sub', 'big', 'hard', 'sub', '"/dir"', 'a', 'b\xff', 'dir', 'l', 'ld', 'loop', '"/"', '"/dir/sub"', '"/"', ''].join('\n'), 'latin1'));
      assert.deepEqual(errors(walk.err), ['no such file or directory: "sub"']);

      const wrong = await run('ls nosuch\ncd ld\ncd a\ncd a/b\nls loop\nls dir/hard/x\nstat nosuch\nrestore-selected x\nbogus\nl\ncd "dir\nls a b\nstat\nfind [\nfind [x\n\n');
      assert.deepEqual(errors(wrong.err), [
        'no such file or directory: "nosuch"',
        'target is a symlink',
        'not a directory',
        'not a directory',
        'too many levels of symbolic links',
        'not a directory',
        'no such file or directory: "nosuch"',
        'no entries selected',
        "no such command 'bogus'",
        "no such command 'l'",
        'shellword split failed - found unclosed quote.',
        'got additional arguments: ["b"]',
        "parameter verification failed - 'path': missing argument",
        "parameter verification failed - 'pattern': value does not match the regex pattern",
        'error parsing match pattern: pattern "[x" has an unclosed [',
      ]);
      assert.match(wrong.err, /\nUsage:\n\ncd \[<path>\]\nclear-selected\n/);

      const stat = await run('stat a\nstat l\nstat dir/hard\n');
      const uid = statSync(ground.path('tree')).uid;
      const gid = statSync(ground.path('tree')).gid;
      const owner = `Uid: ${String(uid).padEnd(5)} Gid: ${String(gid).padEnd(5)}`;
      const facts = `  Size: 3             Type: file\nAccess: (${(statSync(join(ground.path('tree'), 'a')).mode & 0o777).toString(8)}/-rw-r--r-- +)  ${owner}\nModify: 2020-01-02 03:04:05\n`;
      assert.ok(stat.out.startsWith(`  File: /a\n${facts}  File: /l -> "a"\n  Size: 1             Type: symlink\n`), stat.out);
      assert.ok(stat.out.endsWith(`  File: /dir/hard -> "a"\n${facts}`), stat.out);
    });
  }
});

suite('what is selected is restored', () => {
  for (const kind of kinds) {
    test(kind.name, async (t) => {
      const { run, ground } = await shell(t, kind);
      const said = await run(
        'select a\nselect a\nselect ld/sub/\nlist-selected\nlist-selected --patterns\ndeselect a\ndeselect a\nfind *.txt\nfind **/x* --select\nfind nothing --select\nlist-selected --patterns\nclear-selected\nlist-selected\n',
      );
      assert.deepEqual(said.out.split('\n'), [
        'added path: "/a"', 'path already selected: "/a"', 'added path: "/dir/sub"', '/a', '/dir/sub', '"/a"', '"/dir/sub"', 'removed path from selection: "/a"', 'path not selected: "/a"',
        '/dir/sub/x.txt', '/dir/sub/x.txt', '"/dir/sub"', '"**/x*"', 'cleared selection', '',
      ]);
      assert.equal(said.err, '');
      const to = (name: string): string => ground.path(name);
      const restored = await run(
        Buffer.concat([
          Buffer.from(`select dir/sub\nselect dir/hard\nselect b`),
          Buffer.of(0xff),
          Buffer.from(`\nrestore-selected ${to('some')}\nclear-selected\nselect b\\xff\nrestore-selected ${to('one')}\nrestore ${to('text')} --pattern *.txt\nrestore ${to('all')}\nrestore ${to('all')}\nselect /\nlist-selected\nrestore-selected ${to('root')}\n`),
        ]),
      );
      assert.deepEqual(errors(restored.err), ['error at entry "a"'], 'what is there stays');
      const tree = to('tree');
      // The target itself keeps what it has.
      const entries = (path: string): string[] => describeTree(path).slice(1);
      assert.deepEqual(entries(to('all')), entries(tree));
      assert.deepEqual(entries(to('root')), entries(tree));
      assert.equal(statSync(to('all')).mode & 0o777, 0o700);
      assert.deepEqual(readdirSync(to('some'), { encoding: 'buffer' }), [Buffer.from([0x62, 0xff]), Buffer.from('dir')]);
      // Its file was not selected: the link comes as one.
      assert.equal(readFileSync(join(to('some'), 'dir/hard'), 'utf8'), 'hi\n');
      assert.deepEqual(readdirSync(join(to('some'), 'dir')), ['hard', 'sub']);
      assert.deepEqual(readdirSync(to('one'), { encoding: 'buffer' }), [Buffer.from([0x62, 0xff])]);
      assert.deepEqual([readdirSync(to('text')), readdirSync(join(to('text'), 'dir/sub'))], [['dir'], ['x.txt']]);
      assert.ok(restored.out.includes('/dir/sub/x.txt\n'));
    });
  }

  test('links in the target lead nowhere', async (t) => {
    const { run, ground } = await shell(t, kinds[0]!);
    mkdirSync(ground.path('outside'));
    mkdirSync(ground.path('target'));
    symlinkSync(ground.path('outside'), join(ground.path('target'), 'dir'));
    const { err } = await run(`select dir\nrestore-selected ${ground.path('target')}\n`);
    assert.deepEqual(errors(err), ['error at entry "dir"']);
    assert.deepEqual(readdirSync(ground.path('outside')), []);
  });
});

test('of a random tree everything comes back, whatever the kind', async (t) => {
  const ground = await BackupGround.make(t);
  const tree = ground.path('tree');
  mkdirSync(tree);
  writeRandomTree(tree, 17, { size: 8_000_000, files: 40 });
  for (const [i, options] of [[], ['--change-detection-mode', 'data']].entries()) {
    const { snapshot } = await ground.backUp([`root.pxar:${tree}`, ...options]);
    const target = ground.path(`restored-${i}`);
    const run = await ground.home.run(['catalog', 'shell', snapshot, 'root.pxar'], { input: `restore ${target}` });
    assert.equal(run.stderr, 'Starting interactive shell\n');
    assert.deepEqual(describeTree(target).slice(1), describeTree(tree).slice(1));
  }
});

test('exit ends it, help tells of it, a group means its newest snapshot, and what is no tree is refused', async (t) => {
  const ground = await BackupGround.make(t);
  const run = (archive: string, input: string): ReturnType<typeof ground.home.run> => ground.home.run(['catalog', 'shell', 'host/plain', archive], { input });
  const ended = await run('root.pxar', 'pwd\nexit\npwd\n');
  assert.deepEqual([ended.bytes.toString(), ended.stderr, ended.exit], ['"/"\n', 'Starting interactive shell\n', 0]);
  const help = await run('root.pxar', 'help find');
  assert.match(help.bytes.toString(), /^Usage: find <pattern> \[OPTIONS\]\n\nFind entries in the catalog matching the given match pattern\.\n/);
  for (const [archive, message] of [
    ['disk.img', 'Can only mount pxar archives.'],
    ['nothing.pxar', 'archive not found in manifest'],
  ] as const) {
    const refused = await run(archive, '');
    assert.deepEqual([refused.exit, errors(refused.stderr)], [255, [message]]);
  }
});

suite('words', () => {
  test('as a shell splits them', () => {
    assert.deepEqual(splitWords(`a "b c" d\\ e 'f\\g' "h\\"i" '' \\x41\\xff`), ['a', 'b c', 'd e', 'f\\g', 'h"i', '', 'A\udcff']);
    assert.deepEqual(shellWords('ls "dir').isOpen, true);
    assert.throws(() => splitWords("a 'b"), { code: 'config.shell-words' });
  });

  test('any name is there and back again', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        const text = textOfBytes(bytes);
        assert.deepEqual(bytesOfText(text), Buffer.from(bytes));
        // A name has no NUL; an escaped one is one word.
        if (!bytes.includes(0)) assert.deepEqual(splitWords(escapedWord(text)).map(bytesOfText), [Buffer.from(bytes)]);
      }),
    );
  });
});

test('the target is made only when something is restored', async (t) => {
  const { run, ground } = await shell(t, kinds[0]!);
  await run(`restore-selected ${ground.path('never')}\n`);
  assert.ok(!existsSync(ground.path('never')));
});
