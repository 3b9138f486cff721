import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { InstallationPaths } from '../config/home.ts';
import { compose, type CompositionOptions } from './composition.ts';
import { formatListenAddress, type ListenAddress } from './listen-address.ts';
import { listenTls, listenUnix } from './listener.ts';

/** Where the manager finds the running server of its installation, whatever its port. */
export function socketPath(installation: InstallationPaths): string {
  return join(installation.run, 'farshore.sock');
}

export interface ServerOptions extends Pick<CompositionOptions, 'delays' | 'programVersion'> {
  installation: InstallationPaths;
  listen: ListenAddress;
  log: ProgressLog;
  clock: Clock;
}

export interface RunningServer {
  /** With the real port. */
  readonly address: ListenAddress;
  readonly fingerprint: string;
  /** Serves the certificate that is in the files now; what is wrong with it goes to the log, and the present one stays. */
  reload(): Promise<void>;
  /** Ends cleanly: running tasks are aborted, what they were doing is whole or absent. */
  stop(): Promise<void>;
}

const taskGraceMs = 15_000;
const connectionGraceMs = 2000;

/** Starts one server: local socket, HTTPS, scheduler. Says in one line when it is ready. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { installation, log } = options;
  const composition = await compose(options);
  const { router, certificates, ciphers, traffic, scheduler, freshness, sampler } = composition;
  try {
    // First, since it also keeps a second server out of this installation.
    const local = await listenUnix({ router, path: socketPath(installation), log });
    try {
      const tls = await listenTls({ router, address: options.listen, certificate: certificates.current, log, wrapSocket: (socket) => traffic.wrap(socket), ...(ciphers === undefined ? {} : { ciphers }) });
      certificates.onChange((certificate) => tls.setCertificate(certificate));
      void composition.audit.append({ event: 'start', auth: '', address: 'local', message: `farshore ${options.programVersion}` });
      scheduler.start();
      freshness.start();
      sampler.start();
      const address = tls.address as ListenAddress;
      log.info(`farshore ${options.programVersion} ready: https://${formatListenAddress(address)} fingerprint ${certificates.current.fingerprint}`);
      return {
        address,
        fingerprint: certificates.current.fingerprint,
        reload: async () => {
          try {
            await certificates.reload();
          } catch (e) {
            log.error(`certificate not read anew: ${errorChain(e)}`);
          }
        },
        stop: async () => {
          log.info('stopping');
          void composition.audit.append({ event: 'stop', auth: '', address: 'local' });
          const closed = Promise.all([local.close(connectionGraceMs), tls.close(connectionGraceMs)]);
          await composition.close(taskGraceMs);
          await closed;
          log.info('stopped');
        },
      };
    } catch (e) {
      await local.close(0);
      throw e;
    }
  } catch (e) {
    await composition.close(0);
    throw e;
  }
}
