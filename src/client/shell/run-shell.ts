import { AbortedError, toError } from '../../base/errors.ts';
import type { ReadAt } from '../../pxar/payload-source.ts';
import { childNamed, commandTree, type CommandNode } from '../../terminal/command.ts';
import { helpCommand } from '../../terminal/help.ts';
import type { LineCandidates, LineInput } from '../../terminal/line-input.ts';
import type { TextSink } from '../../terminal/output.ts';
import { errorText, runProgram } from '../../terminal/program.ts';
import { debugText } from '../debug-text.ts';
import type { ByteOutput } from '../restore-target.ts';
import { bytesOfText, textOfBytes } from './byte-text.ts';
import { shellCommands } from './shell-commands.ts';
import type { ShellCommand, ShellContext, ShellState } from './shell-context.ts';
import { pathBytes, type ShellTree } from './shell-tree.ts';
import { escapedWord, shellWords, splitWords } from './shell-words.ts';

const newline = Buffer.from('\n');

export interface ShellParts {
  input: LineInput;
  output: ByteOutput;
  stderr: TextSink;
  timeZone: string | undefined;
  /** Ends the shell. */
  signal: AbortSignal;
  abort: CommandAbort;
}

/** Lets a command end at once, whatever it waits for: nobody waits for a slow line after Ctrl-C. */
export class CommandAbort {
  #controller: AbortController | null = null;

  get signal(): AbortSignal | null {
    return this.#controller?.signal ?? null;
  }

  /** Runs `work`, which `abort` ends. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#controller = controller;
    try {
      return await work(controller.signal);
    } finally {
      this.#controller = null;
    }
  }

  /** False: nothing is under way. */
  abort(): boolean {
    if (this.#controller === null) return false;
    this.#controller.abort(new Error('interrupted'));
    return true;
  }

  /** Reads as `readAt`, but ends with AbortedError with the command. */
  readonly wrap = (readAt: ReadAt): ReadAt => async (offset, length) => {
    const { signal } = this;
    if (signal === null) return readAt(offset, length);
    const reading = readAt(offset, length);
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(new AbortedError('interrupted'));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    try {
      return await Promise.race([reading, promise]);
    } finally {
      signal.removeEventListener('abort', stop);
      // Whoever lost the race is not waited for.
      reading.catch(() => {});
      promise.catch(() => {});
    }
  };
}

function shellTree(): CommandNode<ShellCommand> {
  const help = helpCommand(() => tree);
  const tree: CommandNode<ShellCommand> = commandTree<ShellCommand>([...shellCommands, help]);
  return tree;
}

/** Runs the lines of `input` until it ends or says `exit` (spec client-cli 6). A command that fails says so, and the next one comes. */
export async function runShell(tree: ShellTree, parts: ShellParts): Promise<void> {
  const { input, output, stderr, signal, abort } = parts;
  const commands = shellTree();
  const state: ShellState = { tree, directory: tree.root, selected: new Map(), hasEnded: false };
  const lines = input.lines({
    prompt: () => `pxar:${debugText(pathBytes(state.directory))} > `,
    complete: (line) => completeShellLine(commands, state, line),
    interrupt: () => abort.abort(),
    signal,
  });
  const onEnd = (): void => void abort.abort();
  signal.addEventListener('abort', onEnd);
  try {
    for await (const line of lines) {
      if (signal.aborted) return;
      await abort.during((ended) => runLine(commands, textOfBytes(line), shellContext(state, parts, ended)));
      if (state.hasEnded) return;
    }
  } finally {
    signal.removeEventListener('abort', onEnd);
  }

  function shellContext(shared: ShellState, { timeZone }: ShellParts, ended: AbortSignal): ShellContext {
    return {
      program: '',
      stdout: { write: (text) => void output.write(Buffer.from(text)) },
      stderr,
      state: shared,
      signal: ended,
      timeZone,
      line: async (bytes) => output.write(Buffer.concat([typeof bytes === 'string' ? Buffer.from(bytes) : bytes, newline])),
    };
  }
}

async function runLine(commands: CommandNode<ShellCommand>, line: string, context: ShellContext): Promise<void> {
  let words: string[];
  try {
    words = splitWords(line);
  } catch (e) {
    context.stderr.write(errorText(toError(e)));
    return;
  }
  if (words.length > 0) await runProgram(commands, words, context);
}

/** Commands for the first word, paths of the archive for the others. */
export async function completeShellLine(commands: CommandNode<ShellCommand>, state: ShellState, line: string): Promise<LineCandidates> {
  const { words } = shellWords(line);
  const isNewWord = words.length === 0 || (/\s$/.test(line) && splitsHere(line));
  const last = isNewWord ? { text: '', start: line.length } : words.at(-1)!;
  const before = isNewWord ? words : words.slice(0, -1);
  const replaced = line.slice(last.start);
  if (before.length === 0) {
    const names = [...commands.children.keys()].filter((name) => name.startsWith(last.text));
    return { candidates: names.map((name) => `${name} `), replaced };
  }
  const kind = childNamed(commands, before[0]!.text)?.command?.completesPath;
  if (kind === undefined) return { candidates: [], replaced };
  const cut = last.text.lastIndexOf('/') + 1;
  const folder = last.text.slice(0, cut);
  const found = folder === '' ? state.directory : await state.tree.find(state.directory, bytesOfText(folder), true);
  if (found === null || found.at(-1)!.type !== 'd') return { candidates: [], replaced };
  const prefix = bytesOfText(last.text.slice(cut));
  const entries = (await state.tree.entries(found.at(-1)!)).filter(({ name, type }) => name.subarray(0, prefix.length).equals(prefix) && (kind === 'entry' || type === 'd'));
  return { candidates: entries.map(({ name, type }) => `${escapedWord(folder)}${escapedWord(textOfBytes(name))}${type === 'd' ? '/' : ' '}`), replaced };
}

/** Whether the blank at the end of `line` ends a word: it is neither quoted nor escaped. */
function splitsHere(line: string): boolean {
  return shellWords(`${line}x`).words.length > shellWords(line.trimEnd()).words.length;
}
