import { commandsBelow, parameterSchema, requiredNames } from './command.ts';
import type { CommandNode, CommandShape } from './command.ts';
import { keywordsOf } from './schema-keywords.ts';
import { shortUsage, typeText } from './usage.ts';

/** Manual pages in roff (man(7)), made of the command definitions. */

export interface ManualPage {
  program: string;
  version: string;
  /** One line: what the program is. */
  summary: string;
  /** Sections before the commands and after them: heading, paragraphs. */
  description: readonly string[];
  sections: ReadonlyArray<readonly [heading: string, paragraphs: readonly string[]]>;
}

/** Text in which roff sees no requests and no escapes, every `-` as it is typed. */
export function roffText(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .split('\n')
    .map((line) => (/^[.']/.test(line) ? `\\&${line}` : line))
    .join('\n');
}

function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text) => ['.PP', roffText(text)]);
}

function parameterLines(command: CommandShape): string[] {
  const required = requiredNames(command);
  const options = Object.keys(command.parameters.properties).filter((name) => !command.positional.includes(name)).sort();
  return [...command.positional, ...options].flatMap((name) => {
    const schema = parameterSchema(command, name);
    const { description = '', default: byDefault } = keywordsOf(schema);
    const label = command.positional.includes(name) ? `<${name}>` : `--${name}`;
    const facts = [required.has(name) && !command.positional.includes(name) ? 'required' : '', byDefault === undefined ? '' : `default: ${byDefault}`].filter((fact) => fact !== '');
    return ['.TP', `\\fB${roffText(label)}\\fR ${roffText(typeText(schema))}`, roffText(`${description}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`) || '\\&'];
  });
}

function commandLines(program: string, command: CommandShape): string[] {
  const examples = command.examples ?? [];
  return [
    `.SS "${roffText(command.words.join(' ')).replaceAll('"', '')}"`,
    '.nf',
    `\\fB${roffText(shortUsage(command, [program, ...command.words]))}\\fR`,
    '.fi',
    ...paragraphs([command.description]),
    ...parameterLines(command),
    ...(examples.length === 0 ? [] : ['.PP', 'Examples:', '.RS', '.nf', ...examples.map((example) => roffText(`${program} ${example}`)), '.fi', '.RE']),
  ];
}

/** The page of all commands of `tree`. No date in it: the same definitions give the same bytes. */
export function manualPage(tree: CommandNode, page: ManualPage): string {
  const { program, version, summary, description, sections } = page;
  return [
    `.TH ${program.toUpperCase().replaceAll('-', '\\-')} 1 "" "Farshore ${roffText(version)}" "Farshore"`,
    '.SH NAME',
    `${roffText(program)} \\- ${roffText(summary)}`,
    '.SH SYNOPSIS',
    `\\fB${roffText(program)}\\fR \\fIcommand\\fR [\\fIarguments\\fR]`,
    '.br',
    `\\fB${roffText(program)}\\fR \\fIcommand\\fR \\fB\\-\\-help\\fR`,
    '.SH DESCRIPTION',
    ...paragraphs(description),
    '.SH COMMANDS',
    ...[...commandsBelow(tree)].flatMap((command) => commandLines(program, command)),
    ...sections.flatMap(([heading, texts]) => [`.SH ${heading}`, ...paragraphs(texts)]),
    '',
  ].join('\n');
}
