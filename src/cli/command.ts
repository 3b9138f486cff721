import assert from 'node:assert/strict';
import type { TObject, TSchema } from 'typebox';
import type { ApiConnection } from './api-connection.ts';
import type { OutputSettings, TextSink } from './output.ts';

/** Ctrl-C as a subscription: `listen` returns the function that ends it. */
export interface InterruptSource {
  listen(handler: () => void): () => void;
}

/** What a running command may use. */
export interface CommandContext {
  /** Connects at the first call. */
  readonly api: ApiConnection;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly output: OutputSettings;
  /** True when stderr is a terminal: progress may be drawn there. */
  readonly drawsProgress: boolean;
  readonly interrupts: InterruptSource;
  /** Waits between two polls of a followed task; an abort of `signal` ends the waiting early. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /** Words that call this program in texts for people, e.g. `farshore`. */
  readonly program: string;
}

/** Checked parameters of a call, by the names of the schema. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Candidates for a value on the command line; `given` holds what the line has so far. Errors mean no candidates. */
export type Completion = (api: ApiConnection, given: Parameters) => Promise<string[]>;

/** A command is data: words, parameters, and what it does. */
export interface Command {
  words: readonly string[];
  description: string;
  /** Options and positionals. Usage texts come from `description`, `typetext` and `default` of each property. */
  parameters: TObject;
  /** Names of the positionals in order; only the last one may be optional or a list. */
  positional: readonly string[];
  /** Other spellings of options, e.g. `f` for `follow`; not shown in usage texts. */
  aliases?: Readonly<Record<string, string>>;
  /** Completion of values that are not enumerations or booleans. */
  completions?: Readonly<Record<string, Completion>>;
  /** Runs, and returns the exit code (none: 0). */
  run(context: CommandContext, parameters: Parameters): Promise<number | void>;
}

/** A level of the command tree: a group with children or a command. */
export interface CommandNode {
  words: readonly string[];
  children: Map<string, CommandNode>;
  command: Command | null;
}

/** Tree of `commands`, children sorted bytewise. A word is either a group or a command. */
export function commandTree(commands: readonly Command[]): CommandNode {
  const root: CommandNode = { words: [], children: new Map(), command: null };
  for (const command of commands.toSorted((a, b) => (a.words.join(' ') < b.words.join(' ') ? -1 : 1))) {
    let at = root;
    for (const [index, word] of command.words.entries()) {
      assert.equal(at.command, null, `'${at.words.join(' ')}' is a command and a group`);
      let next = at.children.get(word);
      if (next === undefined) {
        next = { words: command.words.slice(0, index + 1), children: new Map(), command: null };
        at.children.set(word, next);
      }
      at = next;
    }
    assert.ok(at.command === null && at.children.size === 0, `command '${command.words.join(' ')}' is there twice`);
    at.command = command;
  }
  sortChildren(root);
  return root;
}

function sortChildren(node: CommandNode): void {
  node.children = new Map([...node.children].sort(([a], [b]) => (a < b ? -1 : 1)));
  for (const child of node.children.values()) sortChildren(child);
}

/** The commands below `node`, depth first, in the order of the tree. */
export function* commandsBelow(node: CommandNode): Generator<Command> {
  if (node.command !== null) yield node.command;
  for (const child of node.children.values()) yield* commandsBelow(child);
}

/** The child that `word` names: exactly, or as a prefix that no other child has. */
export function childNamed(node: CommandNode, word: string): CommandNode | null {
  const exact = node.children.get(word);
  if (exact !== undefined) return exact;
  const matching = [...node.children].filter(([name]) => name.startsWith(word));
  return matching.length === 1 ? matching[0]![1] : null;
}

export type Resolution =
  | { kind: 'command'; command: Command; typed: string[]; rest: string[] }
  | { kind: 'incomplete'; group: CommandNode; typed: string[] }
  | { kind: 'unknown'; word: string; group: CommandNode; typed: string[] };

/** Follows `words` down the tree until a command is reached (spec manager-cli 1.1, rules 1 and 2). */
export function resolveCommand(root: CommandNode, words: readonly string[]): Resolution {
  const typed: string[] = [];
  let at = root;
  for (const [index, word] of words.entries()) {
    const next = childNamed(at, word);
    if (next === null) return { kind: 'unknown', word, group: at, typed };
    typed.push(word);
    at = next;
    if (at.command !== null) return { kind: 'command', command: at.command, typed, rest: words.slice(index + 1) };
  }
  return { kind: 'incomplete', group: at, typed };
}

/** Schema of parameter `name`. */
export function parameterSchema(command: Command, name: string): TSchema | undefined {
  const properties = command.parameters.properties as Record<string, TSchema>;
  return Object.hasOwn(properties, name) ? properties[name] : undefined;
}

/** Names of the required parameters. */
export function requiredNames(command: Command): ReadonlySet<string> {
  const { required } = command.parameters as { required?: readonly string[] };
  return new Set(required ?? []);
}
