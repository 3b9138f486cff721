import { readFileSync } from 'node:fs';
import { pause } from '../base/async.ts';
import { AbortedError } from '../base/errors.ts';
import type { ByteOutput } from '../client/restore-target.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import type { OutputSettings, TextSink } from '../terminal/output.ts';

/** What the programs take from the process that they run as. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** True when the locale's charset is UTF-8; with no locale at all it is not (spec manager-cli 2.3). */
export function isUtf8Locale(env: Environment): boolean {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((value) => value !== undefined && value !== '') ?? 'C';
  return /\.utf-?8(@|$)/i.test(locale);
}

/** Output settings from the environment. `columns`: width of the terminal, undefined when stdout is none. */
export function outputSettings(env: Environment, columns: number | undefined): OutputSettings {
  return {
    defaultFormat: env['PROXMOX_OUTPUT_FORMAT'],
    border: env['PROXMOX_OUTPUT_NO_BORDER'] === undefined,
    header: env['PROXMOX_OUTPUT_NO_HEADER'] === undefined,
    unicode: isUtf8Locale(env),
    // A terminal without a size says 0, which is no reason to cut everything.
    width: columns === 0 ? undefined : columns,
    timeZone: undefined,
  };
}

/** SIGINT; the default behaviour is back when nobody listens. */
export const processInterrupts: InterruptSource = {
  listen: (handler) => {
    process.on('SIGINT', handler);
    return () => process.off('SIGINT', handler);
  },
};

/** What ends a program in the middle: it cleans up and fails. */
export const programInterrupts: InterruptSource = {
  listen: (handler) => {
    const stopInterrupt = processInterrupts.listen(handler);
    process.on('SIGTERM', handler);
    process.on('SIGHUP', handler);
    return () => {
      stopInterrupt();
      process.off('SIGTERM', handler);
      process.off('SIGHUP', handler);
    };
  },
};

/** The stream for bytes: a write is done when they are taken. */
export function bytesTo(stream: NodeJS.WriteStream): ByteOutput {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (e) => (e === null || e === undefined ? resolve() : reject(e)));
      }),
  };
}

export function sinkTo(stream: NodeJS.WriteStream): TextSink {
  return {
    write: (text) => {
      stream.write(text);
    },
  };
}

/** Version of this package. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}

/** Waits; an abort of `signal` ends the waiting early. */
export async function pauseOrWake(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await pause(milliseconds, signal);
  } catch (e) {
    if (!(e instanceof AbortedError)) throw e;
  }
}
