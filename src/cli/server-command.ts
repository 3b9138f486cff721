import { Type } from 'typebox';
import { systemClock } from '../base/clock.ts';
import { armFailpointsFromText } from '../base/failpoint.ts';
import type { InstallationPaths } from '../config/home.ts';
import { oneOf } from '../config/schemas.ts';
import type { LocalServer } from './api-connection.ts';
import type { Command } from './command.ts';

export interface ServerEnvironment {
  installation: InstallationPaths;
  version: string;
  env: Readonly<Record<string, string | undefined>>;
}

const logFormats = ['text', 'json'] as const;
const logLevels = ['debug', 'info', 'warn', 'error'] as const;

/** `farshore server`: runs until SIGTERM or SIGINT; SIGHUP reads the certificate anew. */
export function serverCommand({ installation, version, env }: ServerEnvironment): Command {
  return {
    words: ['server'],
    description: 'Run the server in the foreground until SIGTERM or SIGINT; SIGHUP reads the certificate anew. FARSHORE_HOME names the folder that holds everything of it.',
    parameters: Type.Object({
      listen: Type.Optional(Type.String({ description: 'Address and port to listen on; default: FARSHORE_LISTEN, else [::]:8007 (IPv4, too).', typetext: '<ADDR:PORT>' })),
      'log-format': Type.Optional(oneOf([...logFormats], 'A log entry is a line of text or of JSON, to stderr.', { default: 'text' })),
      'log-level': Type.Optional(oneOf([...logLevels], 'Least level of log entries.', { default: 'info' })),
    }),
    positional: [],
    run: async (_context, parameters) => {
      const { startServer } = await import('../server/server.ts');
      const { serverLog } = await import('../server/server-log.ts');
      const { defaultListenAddress, parseListenAddress } = await import('../server/listen-address.ts');
      const failpoints = env['FARSHORE_FAILPOINT'];
      if (failpoints !== undefined) armFailpointsFromText(failpoints);
      const text = (parameters['listen'] as string | undefined) ?? env['FARSHORE_LISTEN'];
      const log = serverLog((parameters['log-format'] as (typeof logFormats)[number] | undefined) ?? 'text', (parameters['log-level'] as (typeof logLevels)[number] | undefined) ?? 'info', process.stderr);
      const ended = untilSignal();
      const server = await startServer({
        installation,
        programVersion: version,
        listen: text === undefined || text === '' ? defaultListenAddress : parseListenAddress(text),
        log,
        clock: systemClock,
      });
      // A server that a terminal started ends with it, as any program does.
      if (!process.stdin.isTTY) process.on('SIGHUP', () => void server.reload());
      const signal = await ended;
      log.info(`received ${signal}`);
      await server.stop();
      return 0;
    },
  };
}

async function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    // A second signal while stopping has its usual effect: the process ends at once.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

/** The server's objects in the manager's own process, for when no server runs. */
export async function openLocalServer({ installation, version }: ServerEnvironment, warn: (text: string) => void): Promise<LocalServer> {
  const { compose } = await import('../server/composition.ts');
  const log = { debug: () => {}, info: () => {}, warn, error: warn };
  const composition = await compose({ installation, programVersion: version, log, clock: systemClock });
  return {
    handle: (request, response) => void composition.router.handle(request, response, { authId: 'root@pam', remoteAddress: 'unix' }),
    close: async () => composition.settle(),
  };
}
