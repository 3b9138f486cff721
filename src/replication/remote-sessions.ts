import type { BackupSnapshot } from '../format/backup-path.ts';
import type { RateLimiter } from '../protocol/rate-limit.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { RestClient } from '../protocol/rest-client.ts';

/** How a job, in either direction, uses its remote. */
export interface RemoteLine {
  endpoint: RemoteEndpoint;
  store: string;
  limiter?: RateLimiter | undefined;
  signal: AbortSignal;
  /** What gets no byte for so long has failed, an answer to come, too; default as the protocol's. */
  stallTimeoutMs?: number | undefined;
}

/** For listings and whatever else is no session. */
export function restClientOf({ endpoint, limiter, signal, stallTimeoutMs }: RemoteLine): RestClient {
  return new RestClient(endpoint, { limiter, signal, stallTimeoutMs, ...(stallTimeoutMs === undefined ? {} : { timeoutMs: stallTimeoutMs }) });
}

/** What a reader session and a backup session of a snapshot have in common. They may take over a connection that the listings no longer need. */
export function sessionOf({ store, limiter, signal, stallTimeoutMs }: RemoteLine, rest: RestClient, namespace: string, snapshot: BackupSnapshot) {
  return {
    store,
    ns: namespace,
    backupType: snapshot.type,
    backupId: snapshot.id,
    backupTime: snapshot.time,
    debug: false,
    limiter,
    signal,
    authHeaders: () => rest.authHeaders(),
    idleConnection: () => rest.takeIdleConnection(),
    ...(stallTimeoutMs === undefined ? {} : { stallTimeoutMs }),
  };
}
