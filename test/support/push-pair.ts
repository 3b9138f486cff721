import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import type { RetryPolicy } from '../../src/replication/line-retry.ts';
import { LocalSource, type LocalSourcePermissions } from '../../src/replication/local-source.ts';
import type { ReplicationPolicy, TargetPermissions } from '../../src/replication/policy.ts';
import { PossessionJournal } from '../../src/replication/possession-journal.ts';
import { RemoteTarget } from '../../src/replication/remote-target.ts';
import type { ReplicationReport } from '../../src/replication/report.ts';
import { replicate } from '../../src/replication/run.ts';
import { emptyStore, RecordingLog } from './datastore.ts';
import { DelayProxy } from './delay-proxy.ts';
import { addEmptyDatastore, datastoreFolder, FarshoreHost, secretIn } from './farshore-host.ts';
import { hastyRetry, plainPolicy } from './sync-pair.ts';

export const pushUser = 'push@pbs!offsite';

export interface PushOptions extends Partial<ReplicationPolicy> {
  permissions?: Partial<TargetPermissions>;
  sourcePermissions?: LocalSourcePermissions;
  retry?: RetryPolicy;
  signal?: AbortSignal;
  stallTimeoutMs?: number;
  /** Not through the proxy. */
  direct?: boolean;
}

export interface PushOutcome {
  /** Null when the run ended with an error. */
  report: ReplicationReport | null;
  error: unknown;
  log: RecordingLog;
}

/** One push into the datastore `copy` of a server, with the journal in `folder`. Never rejects. */
export async function pushFrom(source: Datastore, folder: string, endpoint: RemoteEndpoint, change: Omit<PushOptions, 'direct'> = {}): Promise<PushOutcome> {
  const { permissions, sourcePermissions, retry = hastyRetry, signal = new AbortController().signal, stallTimeoutMs, ...policyChange } = change;
  const policy = { ...plainPolicy, owner: endpoint.authId, ...policyChange };
  const log = new RecordingLog();
  const flight = new FlightControl(systemClock);
  const journal = PossessionJournal.open({ path: join(folder, 'push.sqlite'), identity: 'offsite', bootId: 'this', log });
  const spoolFolder = join(folder, 'spool');
  await mkdir(spoolFolder, { recursive: true });
  const target = new RemoteTarget({ endpoint, remote: 'offsite', store: 'copy', flight, signal, log, retry, stallTimeoutMs, spoolFolder, mayRemove: () => null });
  try {
    const report = await replicate({
      source: new LocalSource(source, policy.sourceNamespace, sourcePermissions ?? { mayRead: () => true }),
      target,
      policy,
      journal,
      permissions: { write: () => null, createNamespace: () => null, removeNamespace: () => null, ...permissions },
      log,
      signal,
      flight,
      retry,
    });
    return { report, error: null, log };
  } catch (error) {
    return { report: null, error, log };
  } finally {
    target.close();
    journal.close();
  }
}

/** A datastore here, a line, and a server process with the empty datastore `copy` there. */
export interface PushPair extends AsyncDisposable {
  source: Datastore;
  proxy: DelayProxy;
  server: FarshoreHost;
  /** Folder of the datastore `copy`. */
  copyPath: string;
  /** For journal and locks of a push. */
  folder: string;
  /** Of `pushUser`. */
  secret: string;
  push(options?: PushOptions): Promise<PushOutcome>;
  /** A push that must succeed. */
  pushed(options?: PushOptions): Promise<ReplicationReport>;
  /** The copy, to be looked at here. */
  copy(): Promise<{ store: Datastore } & AsyncDisposable>;
}

/** `copyPath`: an existing folder for the copy. */
export async function pushPair(options: { role?: string; copyPath?: string } = {}): Promise<PushPair> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await datastoreFolder());
  const source = stack.use(await emptyStore());
  const server = stack.use(new FarshoreHost(join(folder.path, 'home')));
  const copyPath = options.copyPath ?? join(folder.path, 'copy');
  await addEmptyDatastore(server, 'copy', copyPath);
  await server.start();
  await server.ok('user', 'create', 'push@pbs');
  const secret = secretIn(await server.ok('user', 'generate-token', 'push@pbs', 'offsite'));
  for (const authId of ['push@pbs', pushUser]) await server.ok('acl', 'update', '/datastore/copy', options.role ?? 'DatastoreAdmin', '--auth-id', authId);
  const proxy = stack.use(await DelayProxy.start({ target: { host: '127.0.0.1', port: server.port } }));
  const push = async ({ direct = false, ...change }: PushOptions = {}): Promise<PushOutcome> =>
    pushFrom(source.store, folder.path, new RemoteEndpoint({ host: '127.0.0.1', port: direct ? server.port : proxy.port, authId: pushUser, secret, fingerprint: server.fingerprint }), change);
  const held = stack.move();
  return {
    source: source.store,
    proxy,
    server,
    copyPath,
    folder: folder.path,
    secret,
    push,
    pushed: async (change) => {
      const { report, error, log } = await push(change);
      if (report === null) throw new Error(`the push failed:\n${log.lines.join('\n')}`, { cause: error });
      return report;
    },
    copy: async () => {
      const store = await Datastore.open({ name: 'copy', path: copyPath, locksRoot: join(folder.path, 'locks'), tuning: { syncLevel: 'none' } });
      return { store, [Symbol.asyncDispose]: () => Promise.resolve(store.close()) };
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}
