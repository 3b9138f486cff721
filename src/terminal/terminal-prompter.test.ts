import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { TerminalPrompter } from './terminal-prompter.ts';

/** A keyboard, and what the terminal shows. */
function terminal(): { input: PassThrough & { isTTY: boolean; setRawMode(raw: boolean): void }; prompter: TerminalPrompter; shown: () => string; modes: boolean[] } {
  const modes: boolean[] = [];
  let shown = '';
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (raw: boolean) => void modes.push(raw) });
  return { input, modes, prompter: new TerminalPrompter(input, { write: (text) => void (shown += text) }), shown: () => shown };
}

test('a secret is never shown: asterisks, none after Tab; backspace takes back', async () => {
  const { input, prompter, shown, modes } = terminal();
  const answer = prompter.secret('Password: ');
  for (const key of ['a', 'b', '\u007f', 'ü', '\t', 'x', '\u007f', 'y\r']) input.write(key);
  assert.equal(await answer, 'aüy');
  assert.equal(shown(), 'Password: **\b \b*\n');
  assert.deepEqual(modes, [true, false]);
});

test('a line is shown; what is typed ahead belongs to the next question', async () => {
  const { input, prompter, shown } = terminal();
  const first = prompter.line('One? ');
  input.write('yes\nno\nrest');
  assert.equal(await first, 'yes');
  assert.equal(await prompter.line('Two? '), 'no');
  const third = prompter.line('Three? ');
  input.write('!\n');
  assert.equal(await third, 'rest!');
  assert.equal(shown(), 'One? yes\nTwo? no\nThree? rest!\n');
});

test('Ctrl-C and the end of the input are no answers, and the terminal is as before', async () => {
  const interrupted = terminal();
  const answer = interrupted.prompter.secret('Password: ');
  interrupted.input.write('ab\u0003');
  await assert.rejects(answer, { code: 'aborted', message: 'interrupted at the terminal' });
  assert.deepEqual(interrupted.modes, [true, false]);
  const ended = terminal();
  const none = ended.prompter.line('? ');
  ended.input.end();
  await assert.rejects(none, { code: 'aborted' });
});

test('nobody is asked without a terminal', () => {
  assert.equal(new TerminalPrompter(new PassThrough(), { write: () => {} }).canAsk, false);
});
