import { ParameterError, checkPairs } from '../protocol/parameters.ts';
import type { ParameterFault } from '../protocol/parameters.ts';
import { parameterSchema, requiredNames } from './command.ts';
import type { CommandShape, Parameters } from './command.ts';
import { isArraySchema, isBooleanSchema, keywordsOf } from './schema-keywords.ts';

/** Words that the command has no place for. Wrong values are a ParameterError. */
export class SurplusArguments extends Error {
  constructor(words: readonly string[]) {
    super(`got additional arguments: [${words.map((word) => JSON.stringify(word)).join(', ')}]`);
    this.name = 'SurplusArguments';
  }
}

/** An option or positional as it was given. */
type GivenValue = readonly [name: string, text: string];

const booleanWords = new Set(['1', 'on', 'yes', 'true', '0', 'off', 'no', 'false']);

/** True for a word that rule 1.1.4 takes as an option. */
export function isOptionWord(word: string): boolean {
  return word.length >= 2 && word.startsWith('-') && word !== '--';
}

/** `--name` or `--name=value` without its dashes, aliases resolved. */
export function splitOption(command: CommandShape, word: string): { name: string; text: string | null } {
  const bare = word.slice(word.startsWith('--') ? 2 : 1);
  const equals = bare.indexOf('=');
  const name = equals < 0 ? bare : bare.slice(0, equals);
  const aliases = command.aliases ?? {};
  return {
    name: Object.hasOwn(aliases, name) ? aliases[name]! : name,
    text: equals < 0 ? null : bare.slice(equals + 1),
  };
}

interface Shape {
  /** Options in the order of the line, then positionals. */
  given: GivenValue[];
  surplus: string[];
}

/** Step one: which words are options, values and positionals (1.1, 3 to 9). */
function takeApart(command: CommandShape, words: readonly string[]): Shape {
  const given: GivenValue[] = [];
  const faults: ParameterFault[] = [];
  const free: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at]!;
    if (word === '--') {
      free.push(...words.slice(at));
      break;
    }
    if (!isOptionWord(word)) {
      free.push(word);
      continue;
    }
    const { name, text } = splitOption(command, word);
    const next = words[at + 1];
    if (text !== null) {
      given.push([name, text]);
    } else if (isBooleanSchema(parameterSchema(command, name))) {
      if (next !== undefined && booleanWords.has(next.toLowerCase())) {
        given.push([name, next]);
        at += 1;
      } else if (keywordsOf(parameterSchema(command, name)).default === true) {
        faults.push([name, 'missing boolean value.']);
      } else {
        given.push([name, 'true']);
      }
    } else if (next !== undefined && next !== '--' && !isOptionWord(next)) {
      given.push([name, next]);
      at += 1;
    } else {
      faults.push([name, 'missing parameter value.']);
    }
  }
  const surplus = takePositionals(command, free, given, faults);
  if (faults.length > 0) throw new ParameterError(faults);
  return { given, surplus };
}

/** Appends the positionals among `free` to `given`; returns the words that are left. */
function takePositionals(command: CommandShape, free: readonly string[], given: GivenValue[], faults: ParameterFault[]): string[] {
  const required = requiredNames(command);
  let at = 0;
  for (const name of command.positional) {
    if (isArraySchema(parameterSchema(command, name))) {
      for (const text of free.slice(at)) given.push([name, text]);
      if (required.has(name) && at >= free.length) faults.push([name, 'missing argument']);
      return [];
    }
    const text = free[at];
    if (text !== undefined) given.push([name, text]);
    else if (required.has(name)) faults.push([name, 'missing argument']);
    at += 1;
  }
  return free.slice(at);
}

/**
 * Parameters of `command` from the words after the command words. Nothing is filled in for options that are not given.
 * Throws
 * ParameterError with the reference's text, or SurplusArguments (spec manager-cli 1.2).
 */
export function parseArguments(command: CommandShape, words: readonly string[]): Parameters {
  const { given, surplus } = takeApart(command, words);
  const parameters = checkPairs(command.parameters, given);
  if (surplus.length > 0) throw new SurplusArguments(surplus);
  return parameters;
}
