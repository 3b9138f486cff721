import type { TSchema } from 'typebox';
import type { Method } from '../../api/endpoint.ts';
import type { Parameters } from '../../terminal/command.ts';
import { show, sortedJson } from '../../terminal/output.ts';
import type { View } from '../../terminal/output.ts';
import type { Column } from '../../terminal/table.ts';
import type { Command, CommandContext, Completion } from '../command.ts';
import { deleteOption, digestOption, outputFormatOption, parameters } from './parameters.ts';

/** Commands over one kind of configuration entry: list, show, create, update, remove. */

type Properties = Readonly<Record<string, TSchema>>;

/** Parameters without those that are only for this program. */
export function forApi(given: Parameters): Record<string, unknown> {
  const { 'output-format': _, ...sent } = given;
  return sent;
}

/** Calls the API with the command's parameters and shows nothing. */
export function quietCall(method: Method, path: string): Command['run'] {
  return async (context, given) => {
    await context.api.call(method, path, forApi(given));
  };
}

/** Prints the result of a command without view of its own: `Result: ` and JSON (spec manager-cli 1.6). */
export function printResult(context: CommandContext, data: unknown): void {
  context.stdout.write(`Result: ${sortedJson(data, true)}\n`);
}

/** Shows data of a command with option `output-format`. */
export function showData(context: CommandContext, view: View, data: unknown, given: Parameters): void {
  show(view, data, given['output-format'], context);
}

export interface Section {
  /** First command word. */
  word: string;
  /** Parameter that names an entry. */
  key: string;
  keySchema: TSchema;
  /** Of the list, e.g. `/config/remote`. */
  path: string;
  /** In descriptions: `remote`. */
  noun: string;
  completions: Readonly<Record<string, Completion>>;
}

function entryPath(section: Section): string {
  return `${section.path}/{${section.key}}`;
}

export function listCommand(section: Section, columns: (context: CommandContext) => readonly Column[], options: Properties = {}): Command {
  return {
    words: [section.word, 'list'],
    description: `List all ${section.noun}s.`,
    parameters: parameters({}, { ...options, ...outputFormatOption }),
    positional: [],
    run: async (context, given) => {
      const { data } = await context.api.call('GET', section.path, forApi(given));
      showData(context, { kind: 'list', columns: columns(context) }, data, given);
    },
  };
}

export function showCommand(section: Section, fields: readonly Column[]): Command {
  return {
    words: [section.word, 'show'],
    description: `Show the configuration of a ${section.noun}.`,
    parameters: parameters({ [section.key]: section.keySchema }, outputFormatOption),
    positional: [section.key],
    completions: section.completions,
    run: async (context, given) => {
      const { data } = await context.api.call('GET', entryPath(section), forApi(given));
      showData(context, { kind: 'object', fields }, data, given);
    },
  };
}

export function createCommand(section: Section, required: Properties, optional: Properties): Command {
  const { [section.key]: _, ...completions } = section.completions;
  return {
    words: [section.word, 'create'],
    description: `Create a new ${section.noun}.`,
    parameters: parameters({ [section.key]: section.keySchema, ...required }, optional),
    positional: [section.key],
    completions,
    run: quietCall('POST', section.path),
  };
}

export function updateCommand(section: Section, options: Properties, deletable: readonly string[]): Command {
  return {
    words: [section.word, 'update'],
    description: `Change the configuration of a ${section.noun}.`,
    parameters: parameters({ [section.key]: section.keySchema }, { ...options, ...deleteOption(deletable), ...digestOption }),
    positional: [section.key],
    completions: section.completions,
    run: quietCall('PUT', entryPath(section)),
  };
}

export function removeCommand(section: Section, options: Properties = {}): Command {
  return {
    words: [section.word, 'remove'],
    description: `Remove a ${section.noun}.`,
    parameters: parameters({ [section.key]: section.keySchema }, { ...options, ...digestOption }),
    positional: [section.key],
    completions: section.completions,
    run: quietCall('DELETE', entryPath(section)),
  };
}

/** Columns or fields with plain cells. */
export function plainColumns(names: string): Column[] {
  return names.split(' ').map((name) => ({ name }));
}

/** Fields of an object view that are numbers, all of them: the value column is then right-aligned. */
export function integerColumns(names: string): Column[] {
  return names.split(' ').map((name) => ({ name, type: 'integer' }));
}
