import { listTable, objectTable } from './table.ts';
import type { Column, Row, TableStyle } from './table.ts';

/** Where a command writes to. */
export interface TextSink {
  write(text: string): void;
}

/** What a command needs to know to show data (spec manager-cli 2.1, 2.3). */
export interface OutputSettings extends TableStyle {
  /** `PROXMOX_OUTPUT_FORMAT`, unchecked; undefined when it is not set. */
  defaultFormat: string | undefined;
  /** Zone of printed times; undefined: the system's. */
  timeZone: string | undefined;
}

/** An output format of the environment that there is not, in a command that starts a task: exit code 101 (2.1). */
export class UnknownFormat extends Error {
  constructor(format: string) {
    super(`undefined output format '${format}'`);
    this.name = 'UnknownFormat';
  }
}

export type OutputFormat = 'text' | 'json' | 'json-pretty';

/** The option if given, else the environment's, else `text`. */
export function outputFormat(option: unknown, settings: OutputSettings): OutputFormat {
  const format = typeof option === 'string' ? option : (settings.defaultFormat ?? 'text');
  if (format !== 'text' && format !== 'json' && format !== 'json-pretty') throw new UnknownFormat(format);
  return format;
}

/**
 * JSON with keys sorted bytewise at every level (2.2). Own serializer because JavaScript objects put integer-like keys
 * first whatever the insertion order.
 */
export function sortedJson(value: unknown, pretty: boolean, indent = ''): string {
  const inner = `${indent}  `;
  const join = (open: string, parts: string[], close: string): string => {
    if (parts.length === 0) return open + close;
    if (!pretty) return open + parts.join(',') + close;
    return `${open}\n${parts.map((part) => inner + part).join(',\n')}\n${indent}${close}`;
  };
  if (Array.isArray(value)) return join('[', value.map((element) => sortedJson(element, pretty, inner)), ']');
  if (typeof value === 'object' && value !== null) {
    const parts = Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([key, part]) => `${JSON.stringify(key)}:${pretty ? ' ' : ''}${sortedJson(part, pretty, inner)}`);
    return join('{', parts, '}');
  }
  return value === undefined ? 'null' : JSON.stringify(value);
}

/** JSON as printed: with a newline at the end. */
export function jsonText(value: unknown, format: 'json' | 'json-pretty'): string {
  return `${sortedJson(value, format === 'json-pretty')}\n`;
}

/** How `list` and `show` commands print `data`: a view for text, the raw data for JSON. */
export type View =
  | { kind: 'list'; columns: readonly Column[]; sort?: boolean; plain?: boolean }
  | { kind: 'object'; fields: readonly Column[] };

export interface ShowContext {
  stdout: TextSink;
  stderr: TextSink;
  output: OutputSettings;
}

/** Prints `data` in the format asked for. An unknown word in the environment is only a message on stderr (2.1). */
export function show(view: View, data: unknown, option: unknown, { stdout, stderr, output: settings }: ShowContext): void {
  let format: OutputFormat;
  try {
    format = outputFormat(option, settings);
  } catch (e) {
    if (!(e instanceof UnknownFormat)) throw e;
    stderr.write(`${e.message}\n`);
    return;
  }
  if (format !== 'text') {
    stdout.write(jsonText(data, format));
    return;
  }
  if (view.kind === 'list') {
    if (!Array.isArray(data)) {
      stderr.write('unable to format result: not a list\n');
      return;
    }
    const style = view.plain === true ? { ...settings, border: false, header: false } : settings;
    stdout.write(listTable(view.columns, data as Row[], style, view.sort));
    return;
  }
  if (typeof data !== 'object' || data === null) {
    stderr.write('unable to format result: not an object\n');
    return;
  }
  stdout.write(objectTable(view.fields, data as Row, settings));
}
