import assert from 'node:assert/strict';
import type { TObject, TSchema } from 'typebox';

/** Checked parameters of a call, by the names of the schema. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Candidates for a value on the command line; `given` holds what the line has so far. Errors mean no candidates. */
export type Completion<Source> = (source: Source, given: Parameters) => Promise<string[]>;

/** What the command line and usage texts know of a command. */
export interface CommandShape {
  words: readonly string[];
  description: string;
  /** Options and positionals. Usage texts come from `description`, `typetext` and `default` of each property. */
  parameters: TObject;
  /** Names of the positionals in order; only the last one may be optional or a list. */
  positional: readonly string[];
  /** Other spellings of options, e.g. `f` for `follow`; not shown in usage texts. */
  aliases?: Readonly<Record<string, string>>;
  /** Words after the program's name, as they are typed: for `--help` and the manual page. */
  examples?: readonly string[];
}

/** A command with completions of values, which are asked of a `Source`. */
export interface CompletedCommand<Source> extends CommandShape {
  /** Completion of values that are not enumerations or booleans. */
  completions?: Readonly<Record<string, Completion<Source>>>;
}

/** A command is data: words, parameters, and what it does with the `Context` of its program. */
export interface Command<Context, Source> extends CompletedCommand<Source> {
  /** Runs, and returns the exit code (none: 0). */
  run(context: Context, parameters: Parameters): Promise<number | void>;
}

/** A level of the command tree: a group with children or a command. */
export interface CommandNode<C extends CommandShape = CommandShape> {
  words: readonly string[];
  children: Map<string, CommandNode<C>>;
  command: C | null;
}

/** `commands`, each with the examples that `examples` has for its words. */
export function withExamples<C extends CommandShape>(commands: readonly C[], examples: Readonly<Record<string, readonly string[]>>): C[] {
  return commands.map((command) => {
    const name = command.words.join(' ');
    return Object.hasOwn(examples, name) ? { ...command, examples: examples[name] } : command;
  });
}

/** Tree of `commands`, children sorted bytewise. A word is either a group or a command. */
export function commandTree<C extends CommandShape>(commands: readonly C[]): CommandNode<C> {
  const root: CommandNode<C> = { words: [], children: new Map(), command: null };
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

function sortChildren<C extends CommandShape>(node: CommandNode<C>): void {
  node.children = new Map([...node.children].sort(([a], [b]) => (a < b ? -1 : 1)));
  for (const child of node.children.values()) sortChildren(child);
}

/** The commands below `node`, depth first, in the order of the tree. */
export function* commandsBelow<C extends CommandShape>(node: CommandNode<C>): Generator<C> {
  if (node.command !== null) yield node.command;
  for (const child of node.children.values()) yield* commandsBelow(child);
}

/** The child that `word` names: exactly, or as a prefix that no other child has. */
export function childNamed<C extends CommandShape>(node: CommandNode<C>, word: string): CommandNode<C> | null {
  const exact = node.children.get(word);
  if (exact !== undefined) return exact;
  const matching = [...node.children].filter(([name]) => name.startsWith(word));
  return matching.length === 1 ? matching[0]![1] : null;
}

export type Resolution<C extends CommandShape> =
  | { kind: 'command'; command: C; typed: string[]; rest: string[] }
  | { kind: 'incomplete'; group: CommandNode<C>; typed: string[] }
  | { kind: 'unknown'; word: string; group: CommandNode<C>; typed: string[] };

/** Follows `words` down the tree until a command is reached (spec manager-cli 1.1, rules 1 and 2). */
export function resolveCommand<C extends CommandShape>(root: CommandNode<C>, words: readonly string[]): Resolution<C> {
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
export function parameterSchema(command: CommandShape, name: string): TSchema | undefined {
  const properties = command.parameters.properties as Record<string, TSchema>;
  return Object.hasOwn(properties, name) ? properties[name] : undefined;
}

/** Names of the required parameters. */
export function requiredNames(command: CommandShape): ReadonlySet<string> {
  const { required } = command.parameters as { required?: readonly string[] };
  return new Set(required ?? []);
}
