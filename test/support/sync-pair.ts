import assert from 'node:assert/strict';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { DigestSet } from '../../src/base/digest-set.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { verifyNamespaces } from '../../src/datastore/verify.ts';
import type { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import type { RateLimiter } from '../../src/protocol/rate-limit.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import type { RetryPolicy } from '../../src/replication/line-retry.ts';
import { LocalTarget } from '../../src/replication/local-target.ts';
import type { ReplicationPolicy } from '../../src/replication/policy.ts';
import type { ReplicationSource, ReplicationTarget } from '../../src/replication/ports.ts';
import { PossessionJournal } from '../../src/replication/possession-journal.ts';
import { RemoteSource } from '../../src/replication/remote-source.ts';
import type { ReplicationReport } from '../../src/replication/report.ts';
import type { TargetPermissions } from '../../src/replication/policy.ts';
import { replicate } from '../../src/replication/run.ts';
import { emptyStore, RecordingLog, type TestStore } from './datastore.ts';
import { DelayProxy, type LineShape } from './delay-proxy.ts';
import { temporaryFolder, unpackGoldenDatastore } from './golden.ts';
import { startSyncSource, type SyncSource } from './sync-source.ts';
import { mkdir, writeFile } from 'node:fs/promises';

export const syncOwner = 'root@pam';

export const plainPolicy: ReplicationPolicy = {
  sourceNamespace: '',
  targetNamespace: '',
  maxDepth: undefined,
  owner: syncOwner,
  groupFilters: [],
  removeVanished: false,
  transferLast: undefined,
  encryptedOnly: false,
  verifiedOnly: false,
  resyncCorrupt: false,
  workerThreads: undefined,
};

/** Pauses of a test: eight attempts within a second. */
export const hastyRetry: RetryPolicy = { firstPauseMs: 5, longestPauseMs: 20, attemptsWithoutProgress: 8 };

export interface PullOptions extends Partial<ReplicationPolicy> {
  /** Between the engine and the real ports. */
  wrapSource?: (source: ReplicationSource) => ReplicationSource;
  wrapTarget?: (target: ReplicationTarget) => ReplicationTarget;
  permissions?: Partial<TargetPermissions>;
  signal?: AbortSignal;
  limiter?: RateLimiter;
  stallTimeoutMs?: number;
  flight?: FlightControl;
  /** A snapshot opens another connection only while the job has fewer than so many. */
  maxLanes?: number | undefined;
  parallelSnapshots?: number | undefined;
  /** Another remote, with a journal of its own. */
  remote?: { name: string; endpoint: RemoteEndpoint };
  retry?: RetryPolicy;
  /** Another one means that the host was started anew. */
  bootId?: string;
  /** Chunks of an adopted copy that count for the source. */
  adopted?: DigestSet;
}

export interface PullOutcome {
  /** Null when the run ended with an error. */
  report: ReplicationReport | null;
  error: unknown;
  log: RecordingLog;
}

const allowAll: TargetPermissions = { write: () => null, createNamespace: () => null, removeNamespace: () => null };

/** One pull into `target` with its own journal file, as a server runs it. Never rejects. */
export async function pullInto(target: Datastore, folder: string, endpoint: RemoteEndpoint, options: PullOptions = {}): Promise<PullOutcome> {
  const { wrapSource, wrapTarget, permissions, signal = new AbortController().signal, limiter, stallTimeoutMs, remote, retry = hastyRetry, flight = new FlightControl(systemClock), maxLanes, parallelSnapshots, bootId = 'this', adopted, ...change } = options;
  const policy = { ...plainPolicy, ...change };
  const log = new RecordingLog();
  const name = remote?.name ?? 'hq';
  const journal = PossessionJournal.open({ path: join(folder, 'journals', `${name}.sqlite`), identity: name, bootId, log });
  const source = new RemoteSource({ endpoint: remote?.endpoint ?? endpoint, remote: name, store: 'main', namespace: policy.sourceNamespace, flight, limiter, signal, stallTimeoutMs, maxLanes });
  try {
    const report = await replicate({
      source: wrapSource?.(source) ?? source,
      target: wrapTarget?.(new LocalTarget(target)) ?? new LocalTarget(target),
      policy,
      journal,
      adopted,
      permissions: { ...allowAll, ...permissions },
      log,
      signal,
      flight,
      parallelSnapshots,
      retry,
    });
    return { report, error: null, log };
  } catch (error) {
    return { report: null, error, log };
  } finally {
    await source.close();
    journal.close();
  }
}

/** A source server, a line to it and a target datastore. */
export interface SyncPair extends AsyncDisposable {
  source: SyncSource;
  proxy: DelayProxy;
  target: Datastore;
  /** Holds the target in `main`, locks and journals. */
  folder: string;
  pull(options?: PullOptions): Promise<PullOutcome>;
  /** A pull that must succeed. */
  pulled(options?: PullOptions): Promise<ReplicationReport>;
}

export async function syncPair(options: { golden?: boolean; line?: Partial<LineShape> } = {}): Promise<SyncPair> {
  await using stack = new AsyncDisposableStack();
  const sourceFolder = stack.use(await temporaryFolder());
  const path = join(sourceFolder.path, 'main');
  await mkdir(path);
  if (options.golden === true) await unpackGoldenDatastore(path);
  else {
    await mkdir(join(path, '.chunks'));
    await writeFile(join(path, '.lock'), '');
  }
  const target: TestStore = stack.use(await emptyStore());
  const source = stack.use(await startSyncSource(path));
  const proxy = stack.use(await DelayProxy.start({ target: { host: '127.0.0.1', port: source.port }, ...options.line }));
  const pull = (change: PullOptions = {}): Promise<PullOutcome> => pullInto(target.store, target.folder, source.endpoint(proxy.port), change);
  const held = stack.move();
  return {
    source,
    proxy,
    target: target.store,
    folder: target.folder,
    pull,
    pulled: async (change) => {
      const { report, error, log } = await pull(change);
      if (report === null) throw new Error(`the pull failed:\n${log.lines.join('\n')}`, { cause: error });
      return report;
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/**
 * Verifies everything that is visible in `store`, which is not what is unfinished; throws when anything is not sound. Returns the number of snapshots.
 * What a server is just removing after a session that failed may vanish under the eyes of it: then it looks again.
 */
export async function verifyAll(store: Datastore): Promise<number> {
  for (;;) {
    const log = new RecordingLog();
    let verified: number;
    try {
      ({ verifiedSnapshots: verified } = await verifyNamespaces(store, {}, { upid: 'UPID:test:00000001:00000001:00000001:00000001:verify:main:root@pam:', log, ignoreVerified: false }));
    } catch (e) {
      throw new Error(`not sound:\n${log.lines.join('\n')}`, { cause: e });
    }
    const skipped = log.lines.filter((line) => line.includes('SKIPPED') && !line.includes('unfinished backup'));
    if (skipped.length === 0) return verified;
    assert.ok(skipped.every((line) => line.includes('does not exist (anymore)')), `snapshots were skipped:\n${log.lines.join('\n')}`);
  }
}
