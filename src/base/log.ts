/**
 * Where long work reports to: a worker task's log, a terminal, a test. In a worker task each `warn` and `error`
 * counts as one warning (spec server 3).
 */
export interface ProgressLog {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** Takes everything, keeps nothing. */
export const silentLog: ProgressLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Puts `[prefix]: ` before each line. */
export function prefixedLog(log: ProgressLog, prefix: string): ProgressLog {
  const line = (message: string): string => `[${prefix}]: ${message}`;
  return {
    debug: (message) => log.debug(line(message)),
    info: (message) => log.info(line(message)),
    warn: (message) => log.warn(line(message)),
    error: (message) => log.error(line(message)),
  };
}
