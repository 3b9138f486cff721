import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fileTypes } from './entry-metadata.ts';
import { normalizePattern, parseExcludeFile } from './exclude-file.ts';
import { evaluatePatterns, MatchPattern } from './match-pattern.ts';

const file = (): number => fileTypes.file | 0o644;
const directory = (): number => fileTypes.directory | 0o755;
const matches = (pattern: string, path: string, mode = file): boolean => evaluatePatterns([MatchPattern.parse(pattern, 'exclude')], Buffer.from(path), mode) === 'exclude';

function check(pattern: string, matching: readonly string[], others: readonly string[]): void {
  for (const path of matching) assert.ok(matches(pattern, path), `${pattern} matches ${path}`);
  for (const path of others) assert.ok(!matches(pattern, path), `${pattern} does not match ${path}`);
}

test('globs', () => {
  check('/hey/*/you', ['/hey/asdf/you', '/hey//you'], ['/hey/a/b/you', '/hey/you', '/x/hey/a/you']);
  check('/hey/**/you', ['/hey/you', '/hey//you', '/hey/a/b/you'], ['/heyasdf/you', '/hey/xyou']);
  check('a/b**/c', ['/a/bxx/c', '/a/b/c'], ['/a/bxx/yy/c']);
  check('a/**x/c', ['/a/yyx/c'], ['/a/y/x/c']);
  check('**/lost+found', ['lost+found', '/lost+found', 'foo/lost+found', '/a/b/lost+found'], ['xlost+found', '/a/xlost+found', '/lost+found/a']);
  check('/a/**', ['/a/', '/a/b', '/a/b/c'], ['/a', '/ab']);
  check('/**/***/a', ['/a', '/b/a', '/b/c/a'], ['/ba']);
  check('**', ['/a', '/a/b/c'], []);
  check('*', ['/a', '/a/b/c'], []);
  check('/*', ['/a', '/'], ['/a/b']);
  check('?oo', ['/foo', '/x/zoo'], ['/oo', '/fooo']);
  check('/a?b', ['/axb'], ['/a/b']);
  check('*.tmp', ['/x.tmp', '/a/b/.tmp'], ['/x.tmp/y', '/x.tmpx']);
  check('\\*\\?', ['/*?'], ['/ab']);
  check('a*a*a*a*a*a*a*a*b', [`/${'a'.repeat(300)}b`], [`/${'a'.repeat(300)}`]);
});

test('classes', () => {
  check('[abc]', ['/a', '/x/c'], ['/d', '/ab']);
  check('[^abc]', ['/d', '/]'], ['/a']);
  check('[!a]', ['/!', '/a'], ['/b']);
  check('[c-a]', ['/b'], ['/d']);
  check('[-a]', ['/-', '/a'], ['/b']);
  check('[a-c-e]', ['/b', '/-', '/e'], ['/d']);
  check('[\\]x]', ['/]', '/x'], ['/\\']);
  check('[[x]', ['/[', '/x'], ['/y']);
  check('[[:digit:]_]', ['/7', '/_'], ['/a', '/:']);
  check('[^[:space:]]', ['/a'], ['/ ', '/\t']);
  check('/a[/x]b', ['/a/b', '/axb'], ['/ayb']);
  check('/*[/a]*c', ['/xa/yc', '/xayc'], ['/xb/yd']);
  check('a[]b', [], ['/ab', '/a]b']);
  check('a[^]b', ['/axb', '/a]b'], ['/ab']);
  for (const [name, yes, no] of [['alnum', 'a1', '_'], ['alpha', 'aZ', '1'], ['blank', ' \t', '\n'], ['cntrl', '\x01\x7f', 'a'], ['graph', 'a!', ' '], ['lower', 'a', 'A'], ['print', 'a \x7f', '\n'], ['punct', '!_', 'a'], ['upper', 'A', 'a'], ['xdigit', 'fF9', 'g']] as const) {
    check(`[[:${name}:]]`, yes.split('').map((character) => `/${character}`), no.split('').map((character) => `/${character}`));
  }
});

test('where a pattern applies', () => {
  check('foo', ['/foo', '/a/foo'], ['/foo/a', '/xfoo', '/foox']);
  check('a/foo', ['/a/foo', '/x/a/foo'], ['/xa/foo']);
  check('/foo', ['/foo'], ['/a/foo']);
  const anchored = MatchPattern.parse('a*', 'exclude', { anchored: true });
  assert.equal(anchored.matchesPath(Buffer.from('/ab')), false);
  assert.ok(matches('foo/', '/foo', directory) && matches('foo///', '/a/foo', directory) && !matches('foo/', '/foo'));
  assert.equal(evaluatePatterns([MatchPattern.parse('foo/', 'exclude')], Buffer.from('/foo'), () => null), null);
  const bytes = MatchPattern.parse(Buffer.from([0xff, 0x2a]), 'exclude');
  assert.ok(bytes.matchesPath(Buffer.from([0x2f, 0xff, 0xfe])));
  const literal = MatchPattern.literal(Buffer.from('/a[*]'), 'include');
  assert.deepEqual(['/a[*]', '/a*', '/x/a[*]'].map((path) => literal.matchesPath(Buffer.from(path))), [true, false, false]);
});

test('the last matching pattern decides', () => {
  const patterns = ['*.log', '!keep.log', 'keep.log/'].map((text) => MatchPattern.parse(text, 'exclude'));
  const evaluate = (path: string, mode: () => number): string | null => evaluatePatterns(patterns, Buffer.from(path), mode);
  assert.deepEqual([evaluate('/a.log', file), evaluate('/keep.log', file), evaluate('/keep.log', directory), evaluate('/a.txt', file)], ['exclude', 'include', 'exclude', null]);
  assert.equal(evaluatePatterns([MatchPattern.parse('!a', 'include')], Buffer.from('/a'), file), 'exclude');
  let asked = 0;
  evaluatePatterns(patterns, Buffer.from('/a.log'), () => (asked += 1));
  assert.equal(asked, 0);
});

test('what is no pattern', () => {
  for (const text of ['', 'a\0b', 'a\\', '[abc', '[a-]', '[[:nope:]]', '[[:alpha', '[^', '[\\']) assert.throws(() => MatchPattern.parse(text, 'exclude'), { code: 'format.pattern' }, text);
  assert.deepEqual(MatchPattern.parse('///', 'exclude').text.toString(), '/');
});

test('lines for .pxarexclude-cli', () => {
  assert.deepEqual(['/', '!/', '!', '///'].map((text) => MatchPattern.parse(text, 'exclude').line.toString()), ['/\n', '!/\n', '!/\n', '/\n']);
  assert.equal(['a/', '!b', '*.c'].map((text) => MatchPattern.parse(text, 'exclude').line.toString()).join(''), 'a/\n!b\n*.c\n');
});

/** A slow and obvious matcher for patterns of `a`, `/`, `*` and `**`. */
function obvious(pattern: string, text: string): boolean {
  const source = pattern.replaceAll(/\*+/g, (stars, at: number) => {
    const isBounded = (at === 0 || pattern[at - 1] === '/') && (at + stars.length === pattern.length || pattern[at + stars.length] === '/');
    if (stars.length < 2 || !isBounded) return '[^/]*';
    return at + stars.length === pattern.length ? '.*' : '<deep>';
  });
  return new RegExp(`^${source.replaceAll('<deep>/', '(.*/)?')}$`).test(text);
}

test('agrees with regular expressions', () => {
  const letters = (choices: string[]): fc.Arbitrary<string> => fc.array(fc.constantFrom(...choices), { minLength: 1, maxLength: 9 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(letters(['a', 'b', '/', '*', '**', '**/', '/**/']), letters(['a', 'b', '/']), (pattern, path) => {
      fc.pre(!pattern.endsWith('/'));
      const compiled = MatchPattern.parse(pattern, 'exclude', { anchored: true });
      assert.equal(compiled.matchesPath(Buffer.from(path)), obvious(pattern, path));
      const suffixes = path.split('').flatMap((letter, i) => (letter === '/' ? [path.slice(i + 1)] : []));
      assert.equal(MatchPattern.parse(pattern, 'exclude').matchesPath(Buffer.from(path)), [path, ...suffixes].some((text) => obvious(pattern, text)));
    }),
    { numRuns: 3000 },
  );
});

test('.pxarexclude files', () => {
  const text = '# comment\n\n  *.o \t\r\n/top\n!/top/keep\n!kept\n/a/../b//c/\nbad[\nsub/\n';
  const { patterns, warnings } = parseExcludeFile(Buffer.from(text), Buffer.from('dir/x'));
  assert.deepEqual(
    patterns.map(({ kind, text: own, directoriesOnly }) => [kind, own.toString(), directoriesOnly]),
    [['exclude', '*.o', false], ['exclude', '/dir/x/top', false], ['include', '/dir/x/top/keep', false], ['include', 'kept', false], ['exclude', '/dir/x/b/c', true], ['exclude', 'sub', true]],
  );
  assert.equal(warnings.length, 2);
  assert.match(warnings[0]!, /normalised to "\/dir\/x\/b\/c\/"/);
  assert.match(warnings[1]!, /bad\[.*unclosed/);
  assert.deepEqual(parseExcludeFile(Buffer.from('/x'), Buffer.alloc(0)).patterns[0]!.text.toString(), '/x');
  assert.equal(parseExcludeFile(Buffer.from('/a*'), Buffer.alloc(0)).patterns[0]!.matchesPath(Buffer.from('/x/a')), false);
});

test('normal form of patterns', () => {
  for (const [text, normal] of [['a//b', 'a/b'], ['./a', 'a'], ['a/./b/', 'a/b/'], ['a/../b', 'b'], ['/../a', '/a'], ['/', '/'], ['a', 'a'], ['..', '']] as const) assert.equal(normalizePattern(text), normal, text);
});
