import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { chunkSizeEndpoints } from '../../src/api/admin/datastore/chunk-sizes.ts';
import { groupEndpoints } from '../../src/api/admin/datastore/groups.ts';
import { namespaceEndpoints } from '../../src/api/admin/datastore/namespace.ts';
import { snapshotEndpoints } from '../../src/api/admin/datastore/snapshots.ts';
import { farshoreEndpoints } from '../../src/api/farshore.ts';
import { readerEndpoints } from '../../src/api/reader.ts';
import { Router } from '../../src/api/router.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { ensureCertificate } from '../../src/server/certificate.ts';
import { listenTls } from '../../src/server/listener.ts';
import { apiGround, testGatekeeper } from './api-ground.ts';

export const syncAuthId = 'sync@pbs!offsite';

/** A second server with one datastore, `main`, that the token `sync@pbs!offsite` may read: real listener, router and reader sessions. */
export interface SyncSource extends AsyncDisposable {
  store: Datastore;
  port: number;
  fingerprint: string;
  /** Requests to the API, sessions included. */
  requests: string[];
  /** How to reach it, directly or through a proxy on `port`. */
  endpoint(port?: number): RemoteEndpoint;
}

export function endpointOf(port: number, fingerprint: string, secret = 'any'): RemoteEndpoint {
  return new RemoteEndpoint({ host: '127.0.0.1', port, authId: syncAuthId, secret, fingerprint });
}

/** `path`: folder of the datastore. `host`: address to listen on. `certificates`: folder of the certificate, so that it outlives the server. */
export async function startSyncSource(path: string, host = '127.0.0.1', certificates?: string): Promise<SyncSource> {
  const hooks: Array<() => Promise<void> | void> = [];
  const context = { after: (hook: () => Promise<void> | void) => hooks.push(hook) } as unknown as TestContext;
  const ground = await apiGround(context, 'source', { main: path });
  const lease = await ground.datastores.open('main', 'lookup');
  const { store } = lease;
  const certificate = await ensureCertificate({
    files: { certificate: join(certificates ?? ground.paths.config, 'proxy.pem'), key: join(certificates ?? ground.paths.config, 'proxy.key') },
    hostName: 'source.test',
    rights: { mode: 0o600, owner: null },
    clock: systemClock,
    log: silentLog,
  });
  const requests: string[] = [];
  const gatekeeper = testGatekeeper(ground.access);
  const router = new Router({
    endpoints: [...farshoreEndpoints({ instanceId: 'a'.repeat(32), programVersion: '0' }), ...chunkSizeEndpoints(ground), ...readerEndpoints({ ...ground, unauthorizedDelayMs: 0 }), ...namespaceEndpoints(ground), ...groupEndpoints(ground), ...snapshotEndpoints(ground)],
    gatekeeper: {
      ...gatekeeper,
      authenticate: (request) => {
        requests.push(request.url ?? '');
        return gatekeeper.authenticate(request);
      },
    },
    log: silentLog,
    delays: { unauthorizedMs: 0, forbiddenMs: 0 },
  });
  const listener = await listenTls({ router, address: { host, port: 0 }, certificate, log: silentLog });
  if (typeof listener.address === 'string') throw new Error('not a TLS listener');
  const { port } = listener.address;
  return {
    store,
    port,
    fingerprint: certificate.fingerprint,
    requests,
    endpoint: (other = port) => endpointOf(other, certificate.fingerprint),
    [Symbol.asyncDispose]: async () => {
      await listener.close(0);
      lease[Symbol.dispose]();
      for (const hook of hooks) await hook();
    },
  };
}
