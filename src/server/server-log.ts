import { pino, type DestinationStream } from 'pino';
import type { ProgressLog } from '../base/log.ts';

export type LogFormat = 'text' | 'json';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** The server's log: one line an entry, as text or as JSON (`{"level","time","msg"}`), to `destination`. */
export function serverLog(format: LogFormat, level: LogLevel, destination: DestinationStream): ProgressLog {
  if (format === 'json') {
    const log = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, destination);
    return {
      debug: (message) => log.debug(message),
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    };
  }
  const order: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
  const write =
    (at: LogLevel) =>
    (message: string): void => {
      if (order.indexOf(at) < order.indexOf(level)) return;
      destination.write(`${new Date().toISOString()} ${at.toUpperCase().padEnd(5)} ${oneLine(message)}\n`);
    };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** An entry is one line, whatever a message from outside holds. */
function oneLine(message: string): string {
  // eslint-disable-next-line no-control-regex
  return message.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ');
}
