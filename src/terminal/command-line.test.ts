import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Type } from 'typebox';
import type { CommandShape } from './command.ts';
import { commandTree, resolveCommand } from './command.ts';
import { parseArguments } from './command-line.ts';

const command: CommandShape = {
  words: ['thing', 'make'],
  description: 'Make a thing.',
  parameters: Type.Object({
    name: Type.String({ minLength: 3 }),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
    fast: Type.Optional(Type.Boolean()),
    safe: Type.Optional(Type.Boolean({ default: true })),
    tag: Type.Optional(Type.Array(Type.String())),
    rest: Type.Optional(Type.Array(Type.String())),
  }),
  positional: ['name', 'rest'],
  aliases: { f: 'fast' },
};

function parsed(...words: string[]): unknown {
  return { ...parseArguments(command, words) };
}

function refused(...words: string[]): string {
  try {
    parseArguments(command, words);
  } catch (e) {
    return (e as Error).message;
  }
  return assert.fail('accepted');
}

suite('options and positionals (spec manager-cli 1.1)', () => {
  const cases: Array<[string, string[], unknown]> = [
    ['one dash or two', ['-count', '2', 'abc'], { name: 'abc', count: 2 }],
    ['a value after =', ['abc', '--tag=-x', '--tag='], { name: 'abc', tag: ['-x', ''] }],
    ['everything after the first =', ['abc', '--tag=a=b'], { name: 'abc', tag: ['a=b'] }],
    ['a boolean alone', ['abc', '--fast'], { name: 'abc', fast: true }],
    ['a boolean takes a boolean word, in any case', ['--fast', 'OFF', 'abc'], { name: 'abc', fast: false }],
    ['and leaves any other word', ['--fast', 'abc'], { name: 'abc', fast: true }],
    ['an alias', ['abc', '-f'], { name: 'abc', fast: true }],
    ['a lone dash is an argument', ['xyz', '-'], { name: 'xyz', rest: ['-'] }],
    ['-- ends the options and is itself an argument', ['abc', '--', '--fast'], { name: 'abc', rest: ['--', '--fast'] }],
    ['a list takes the rest', ['abc', 'd', '--fast', 'e'], { name: 'abc', rest: ['d', 'e'], fast: true }],
    ['an optional positional by name', ['abc', '--rest', 'd'], { name: 'abc', rest: ['d'] }],
    ['a sign is part of an integer', ['abc', '--count=+3'], { name: 'abc', count: 3 }],
  ];
  for (const [what, words, expected] of cases) test(what, () => assert.deepEqual(parsed(...words), expected));
});

suite('refused command lines (spec manager-cli 1.2)', () => {
  const one = (name: string, text: string): string => `parameter verification failed - '${name}': ${text}`;
  const cases: Array<[string[], string]> = [
    [[], one('name', 'missing argument')],
    [['--name', 'abc'], one('name', 'missing argument')],
    [['abc', '--count'], one('count', 'missing parameter value.')],
    [['abc', '--count', '-5'], "parameter verification failed:\n- 'count': missing parameter value.\n- '5': missing parameter value."],
    [['abc', '--count', '--'], one('count', 'missing parameter value.')],
    [['abc', '--safe'], one('safe', 'missing boolean value.')],
    [['abc', '--safe', '-1'], "parameter verification failed:\n- 'safe': missing boolean value.\n- '1': missing parameter value."],
    [['abc', '--nope', 'x'], one('nope', 'schema does not allow additional properties.')],
    [['abc', '---count=1'], one('-count', 'schema does not allow additional properties.')],
    [['abc', '--=1'], one('', 'schema does not allow additional properties.')],
    [['abc', '--constructor=1'], one('constructor', 'schema does not allow additional properties.')],
    [['abc', '--count=1', '--count=2'], one('count', 'duplicate parameter.')],
    [['abc', '--name=abc'], one('name', 'duplicate parameter.')],
    [['abc', '--count=1.5'], one('count', 'invalid digit found in string')],
    [['abc', '--count='], one('count', 'cannot parse integer from empty string')],
    [['abc', '--count=99999999999999999999'], one('count', 'number too large to fit in target type')],
    [['abc', '--count=11'], one('count', 'value must have a maximum value of 10 (got 11)')],
    [['abc', '--fast='], one('fast', 'Unable to parse boolean option.')],
    [['a', '--count=0'], "parameter verification failed:\n- 'count': value must have a minimum value of 1 (got 0)\n- 'name': value must be at least 3 characters long"],
  ];
  for (const [words, message] of cases) test(words.join(' '), () => assert.equal(refused(...words), message));

  test('words too many', () => {
    const short = { ...command, positional: ['name'] };
    assert.throws(() => parseArguments(short, ['abc', 'd "e"', '--', '-x']), { message: 'got additional arguments: ["d \\"e\\"", "--", "-x"]' });
    // Wrong values are told first.
    assert.throws(() => parseArguments(short, ['abc', 'd', '--count=x']), /invalid digit/);
  });
});

suite('command words', () => {
  const make = (...words: string[]): CommandShape => ({ ...command, words });
  const tree = commandTree([make('verify'), make('verify-job', 'list'), make('user', 'list'), make('user', 'list-tokens'), make('user', 'remove')]);

  test('prefixes, exact names first', () => {
    const found = resolveCommand(tree, ['us', 'rem', 'x']);
    assert.ok(found.kind === 'command');
    assert.deepEqual([found.command.words, found.typed, found.rest], [['user', 'remove'], ['us', 'rem'], ['x']]);
    assert.equal(resolveCommand(tree, ['verify', 'abc']).kind, 'command');
    const list = resolveCommand(tree, ['user', 'list']);
    assert.ok(list.kind === 'command' && list.command.words.join(' ') === 'user list');
  });

  test('ambiguous, unknown, empty and missing words', () => {
    for (const words of [['user', 'li'], ['user', 'nope'], ['user', ''], ['-h'], ['ver']]) {
      const found = resolveCommand(tree, words);
      assert.ok(found.kind === 'unknown' && found.word === words.at(-1), words.join(' '));
    }
    assert.equal(resolveCommand(tree, []).kind, 'incomplete');
    assert.equal(resolveCommand(tree, ['verify-j']).kind, 'incomplete');
  });

  test('a word is either a group or a command', () => {
    assert.throws(() => commandTree([make('a'), make('a', 'b')]), /a command and a group/);
    assert.throws(() => commandTree([make('a'), make('a')]), /twice/);
  });
});
