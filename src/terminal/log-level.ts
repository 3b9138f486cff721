import type { ProgressLog } from '../base/log.ts';
import type { TextSink } from './output.ts';

/** Least to most: everything up to the chosen one is shown. */
const levels = ['off', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof levels)[number];

/** Whether a program with `level` shows lines of `line`. */
export function showsLevel(level: LogLevel, line: Exclude<LogLevel, 'off'>): boolean {
  return levels.indexOf(level) >= levels.indexOf(line);
}

/** Level from the variable `name` (spec client-cli 1.3): `info` when it is not set, also, with a message in the reference's words, when it says no level. */
export function logLevelOf(name: string, value: string | undefined, stderr: TextSink): LogLevel {
  if (value === undefined) return 'info';
  const level = levels.find((one) => one === value.toLowerCase());
  if (level === undefined) stderr.write(`env variable ${name} found, but parsing failed: ParseLevelFilterError(())\n`);
  return level ?? 'info';
}

/** Lines to `stderr` as they are, up to `level`. */
export function leveledLog(stderr: TextSink, level: LogLevel): ProgressLog {
  const lines = (of: Exclude<LogLevel, 'off'>) => (showsLevel(level, of) ? (message: string): void => stderr.write(`${message}\n`) : (): void => {});
  return { debug: lines('debug'), info: lines('info'), warn: lines('warn'), error: lines('error') };
}
