import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitShellLine } from './completion.ts';

test('a line is split like a shell does', () => {
  assert.deepEqual(splitShellLine(`a 'b c' "d\\"e" f\\ g h`), { done: ['a', 'b c', 'd"e', 'f g'], last: 'h' });
  assert.deepEqual(splitShellLine(`a 'b c`), { done: ['a'], last: 'b c' });
  assert.deepEqual(splitShellLine(`a '' `), { done: ['a', ''], last: '' });
  assert.deepEqual(splitShellLine(`a '\\x3a'`), { done: ['a'], last: '\\x3a' });
});
