import { childNamed, parameterSchema } from './command.ts';
import type { CommandNode, CommandShape, CompletedCommand, Parameters } from './command.ts';
import { isOptionWord, splitOption } from './command-line.ts';
import { isArraySchema, isBooleanSchema, keywordsOf } from './schema-keywords.ts';

/** Shell completion (spec manager-cli 5). */

/** `line` split like a shell does; the last word is the one to complete, empty after a blank. */
export function splitShellLine(line: string): { done: string[]; last: string } {
  const done: string[] = [];
  let word = '';
  let started = false;
  let quote = '';
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at]!;
    if (quote === '' && /\s/.test(character)) {
      if (started) done.push(word);
      word = '';
      started = false;
      continue;
    }
    started = true;
    if (character === quote) quote = '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === '\\' && quote !== "'" && at + 1 < line.length) {
      at += 1;
      word += line[at]!;
    } else word += character;
  }
  return { done, last: word };
}

const booleanCandidates = ['0', '1', 'yes', 'no', 'true', 'false', 'on', 'off'];

async function valueCandidates<Source>(command: CompletedCommand<Source>, name: string, source: Source, given: Parameters): Promise<string[]> {
  const schema = parameterSchema(command, name);
  const complete = command.completions !== undefined && Object.hasOwn(command.completions, name) ? command.completions[name] : undefined;
  if (complete !== undefined) return complete(source, given);
  const values = keywordsOf(schema).enum ?? keywordsOf(keywordsOf(schema).items).enum;
  if (values !== undefined) return values.map(String);
  return isBooleanSchema(schema) ? booleanCandidates : [];
}

interface LineState {
  given: Record<string, string>;
  usedOptions: Set<string>;
  positionals: number;
  /** Option at the end of the line that waits for its value. */
  pending: string | null;
}

function readLine(command: CommandShape, words: readonly string[]): LineState {
  const state: LineState = { given: {}, usedOptions: new Set(), positionals: 0, pending: null };
  for (const word of words) {
    if (isOptionWord(word)) {
      const { name, text } = splitOption(command, word);
      state.usedOptions.add(name);
      if (text !== null) state.given[name] = text;
      state.pending = text === null ? name : null;
    } else if (state.pending !== null) {
      state.given[state.pending] = word;
      state.pending = null;
    } else {
      const name = command.positional[state.positionals];
      if (name !== undefined) state.given[name] = word;
      state.positionals += 1;
    }
  }
  return state;
}

async function argumentCandidates<Source>(command: CompletedCommand<Source>, words: readonly string[], last: string, source: Source): Promise<string[]> {
  const { given, usedOptions, positionals, pending } = readLine(command, words);
  if (pending !== null && !isOptionWord(last)) return valueCandidates(command, pending, source, given);
  const positional = command.positional[positionals];
  if (!last.startsWith('-') && positional !== undefined) return valueCandidates(command, positional, source, given);
  return Object.keys(command.parameters.properties)
    .filter((name) => !command.positional.includes(name))
    .filter((name) => !usedOptions.has(name) || isArraySchema(parameterSchema(command, name)))
    .map((name) => `--${name}`);
}

/** Candidates for the last word of `line`, which starts with the program's name. */
export async function completeLine<Source>(root: CommandNode<CompletedCommand<Source>>, line: string, source: Source): Promise<string[]> {
  const { done, last } = splitShellLine(line);
  if (done.length === 0) return [];
  const words = done.slice(1);
  // After `help` stand command words, which must be exact but for the last.
  const isHelp = words[0] === 'help';
  let node = root;
  let candidates: string[] | null = null;
  for (const [index, word] of (isHelp ? words.slice(1) : words).entries()) {
    const next = isHelp ? (node.children.get(word) ?? null) : childNamed(node, word);
    if (next === null) return [];
    node = next;
    if (node.command === null) continue;
    candidates = isHelp ? [] : await argumentCandidates(node.command, words.slice(index + 1), last, source);
    break;
  }
  candidates ??= [...node.children.keys()];
  return candidates.filter((candidate) => candidate.startsWith(last));
}

/** What `bashcomplete` prints for `COMP_LINE` and `COMP_POINT`: one candidate per line; errors and missing variables give nothing. */
export async function completionText<Source>(root: CommandNode<CompletedCommand<Source>>, line: string | undefined, point: string | undefined, source: Source): Promise<string> {
  if (line === undefined || point === undefined || !/^[0-9]{1,9}$/.test(point)) return '';
  try {
    const candidates = await completeLine(root, Array.from(line).slice(0, Number(point)).join(''), source);
    return candidates.map((candidate) => `${candidate.trimEnd()}\n`).join('');
  } catch {
    // The user is in the middle of a line: a message would be drawn into it.
    return '';
  }
}
