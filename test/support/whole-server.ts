import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Clock } from '../../src/base/clock.ts';
import { silentLog, type ProgressLog } from '../../src/base/log.ts';
import { prepareInstallation, resolveInstallation, type InstallationPaths } from '../../src/config/home.ts';
import { compose, type Composition } from '../../src/server/composition.ts';

export interface WholeServerOptions {
  clock?: Clock;
  monotonicMs?: () => number;
  log?: ProgressLog;
  /** Puts configuration into the installation before the server is composed. */
  prepare?: (paths: InstallationPaths) => Promise<void>;
}

/** Everything that a server consists of, over a new installation, without listeners; no answer is held back. Removed with it. */
export class WholeServer implements AsyncDisposable {
  readonly paths: InstallationPaths;
  readonly composition: Composition;
  readonly #home: string;

  private constructor(home: string, paths: InstallationPaths, composition: Composition) {
    this.#home = home;
    this.paths = paths;
    this.composition = composition;
  }

  static async make({ clock = { now: () => Date.now() }, log = silentLog, prepare, monotonicMs }: WholeServerOptions = {}): Promise<WholeServer> {
    const home = await mkdtemp(join(tmpdir(), 'farshore-whole-'));
    const paths = resolveInstallation({ env: { FARSHORE_HOME: home }, isRoot: false, homeDirectory: '/nowhere' });
    await prepareInstallation(paths);
    await prepare?.(paths);
    const composition = await compose({ installation: paths, programVersion: '0.0.0', log, clock, ...(monotonicMs === undefined ? {} : { monotonicMs }), delays: { unauthorizedMs: 0, forbiddenMs: 0 } });
    return new WholeServer(home, paths, composition);
  }

  /** Serves plain HTTP on a free port, everybody being `authId`, until the test has ended; then this server ends, too. The port. */
  async serve(t: TestContext, authId: string): Promise<number> {
    const http = createServer((request, response) => void this.composition.router.handle(request, response, { authId, remoteAddress: '127.0.0.1' }));
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    t.after(async () => {
      http.close();
      http.closeAllConnections();
      await this[Symbol.asyncDispose]();
    });
    return (http.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.composition.close(0);
    await rm(this.#home, { recursive: true, force: true });
  }
}
