import type { TSchema } from 'typebox';
import { commandsBelow, parameterSchema, requiredNames } from './command.ts';
import type { CommandShape, CommandNode } from './command.ts';
import { isArraySchema, keywordsOf } from './schema-keywords.ts';

/** Usage and help texts (spec manager-cli 1.3 to 1.5). */

const lineWidth = 80;
const descriptionIndent = 13;

/** Type of a value in usage texts: `<string>`, `<integer> (1 - N)`, `a|b|c`, or the schema's `typetext`. */
export function typeText(schema: TSchema | undefined): string {
  const { type, typetext, enum: values, items, minimum, maximum } = keywordsOf(schema);
  if (typetext !== undefined) return typetext;
  if (type === 'array') return typeText(items);
  if (values !== undefined) return values.join('|');
  if (type === 'integer' || type === 'number') {
    if (minimum === undefined && maximum === undefined) return `<${type}>`;
    return `<${type}> (${minimum ?? '-N'} - ${maximum ?? 'N'})`;
  }
  return `<${type ?? 'string'}>`;
}

/** Lines of `text` within `width`, broken at blanks and after hyphens inside words. Blank lines stay. */
export function wrapText(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    if (paragraph.trim() === '') return [''];
    const lines: string[] = [];
    let line = '';
    for (const word of paragraph.trim().split(/\s+/)) {
      let glue = line === '' ? '' : ' ';
      // `sub-commands` may be broken after its hyphen; the pieces of a word are joined without a blank.
      for (const piece of word.split(/(?<=[\p{L}\p{N}]-)(?=[\p{L}\p{N}])/u)) {
        if (line !== '' && line.length + glue.length + piece.length > width) {
          lines.push(line);
          line = piece;
        } else {
          line += glue + piece;
        }
        glue = '';
      }
    }
    return [...lines, line];
  });
}

function describeParameter(label: string, schema: TSchema | undefined): string {
  const { description = '', default: byDefault } = keywordsOf(schema);
  const text = isArraySchema(schema) ? `${description} Can be specified more than once.` : description;
  const head = ` ${label.padEnd(10)} ${typeText(schema)}${byDefault === undefined ? '' : `   (default=${byDefault})`}`;
  const body = wrapText(text, lineWidth - descriptionIndent).map((line) => (line === '' ? '' : ' '.repeat(descriptionIndent) + line));
  return [head, ...body].join('\n');
}

function optionNames(command: CommandShape): { required: string[]; optional: string[] } {
  const required = requiredNames(command);
  const options = Object.keys(command.parameters.properties)
    .filter((name) => !command.positional.includes(name))
    .sort();
  return { required: options.filter((name) => required.has(name)), optional: options.filter((name) => !required.has(name)) };
}

/** One line: words, positionals, required options, `[OPTIONS]`. `words` are shown as given. */
export function shortUsage(command: CommandShape, words: readonly string[]): string {
  const required = requiredNames(command);
  const options = optionNames(command);
  const positionals = command.positional.map((name) => {
    const shown = isArraySchema(parameterSchema(command, name)) ? `{<${name}>}` : `<${name}>`;
    return required.has(name) ? shown : `[${shown}]`;
  });
  return [
    ...words,
    ...positionals,
    ...options.required.map((name) => `--${name} ${typeText(parameterSchema(command, name))}`),
    ...(options.optional.length > 0 ? ['[OPTIONS]'] : []),
  ].join(' ');
}

function parameterTexts(command: CommandShape): string[] {
  const options = optionNames(command);
  const blocks = [
    ...command.positional.map((name) => describeParameter(`<${name}>`, parameterSchema(command, name))),
    ...options.required.map((name) => describeParameter(`--${name}`, parameterSchema(command, name))),
  ];
  if (options.optional.length > 0) {
    blocks.push('Optional parameters:', options.optional.map((name) => describeParameter(`--${name}`, parameterSchema(command, name))).join('\n'));
  }
  return blocks;
}

/** Short usage and the descriptions of all parameters. */
export function longUsage(command: CommandShape, words: readonly string[]): string {
  return [shortUsage(command, words), ...parameterTexts(command)].join('\n\n');
}

/** As long, with the command's description. */
export function fullUsage(command: CommandShape, words: readonly string[]): string {
  return [shortUsage(command, words), command.description, ...parameterTexts(command)].join('\n\n');
}

/** Usage of every command below `group`, whose own words are shown as `typed`. */
export function groupUsage(group: CommandNode, typed: readonly string[], form: (command: CommandShape, words: readonly string[]) => string = shortUsage): string {
  return [...commandsBelow(group)].map((command) => form(command, [...typed, ...command.words.slice(group.words.length)])).join('\n');
}
