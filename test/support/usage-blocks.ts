import { parameterSchema, requiredNames, type CommandShape } from '../../src/terminal/command.ts';
import { keywordsOf } from '../../src/terminal/schema-keywords.ts';
import { shortUsage, typeText } from '../../src/terminal/usage.ts';
import { readFixture } from './golden.ts';

/** Blocks of the reference's list of all commands of `program`, by the command's words. */
export function recordedUsage(program: string): ReadonlyMap<string, string[]> {
  const text = readFixture(`cli/${program}.txt`).toString('utf8');
  return new Map(
    text.split(/\n\n+/).map((block) => {
      const lines = block.split('\n').filter((line) => line !== '');
      const words = lines[0]!.slice(program.length + 1).split(' ');
      const end = words.findIndex((word) => /^[<[{-]/.test(word));
      return [words.slice(0, end < 0 ? words.length : end).join(' '), lines] as const;
    }),
  );
}

/** The block that the list would have for `command`, without the options `omitted`. */
export function usageBlock(program: string, command: CommandShape, omitted: (option: string) => boolean = () => false): string[] {
  const properties = Object.keys(command.parameters.properties).filter((one) => !omitted(one));
  const required = requiredNames(command);
  const line = (label: string, one: string, gap: string): string => {
    const schema = parameterSchema(command, one);
    const byDefault = keywordsOf(schema).default;
    return `  ${label}${gap}${typeText(schema)}${byDefault === undefined ? '' : `   (default=${byDefault})`}`;
  };
  const options = properties.filter((one) => !command.positional.includes(one)).sort();
  const optional = options.filter((one) => !required.has(one));
  const usage = shortUsage(command, [program, ...command.words]);
  return [
    optional.length > 0 ? usage : usage.replace(' [OPTIONS]', ''),
    ...command.positional.map((one) => line(`<${one}>`, one, '  ')),
    ...options.filter((one) => required.has(one)).map((one) => line(`--${one}`, one, ' ')),
    ...(optional.length > 0 ? ['  [optional]', ...optional.map((one) => line(`--${one}`, one, ' '))] : []),
  ];
}
