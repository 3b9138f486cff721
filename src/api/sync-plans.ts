import { systemClock } from '../base/clock.ts';
import { humanSize } from '../base/human-size.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { formatTimeSpan } from '../base/time-span.ts';
import type { SettingsFile } from '../config/farshore-config.ts';
import { missingSection } from '../config/missing-section.ts';
import type { SyncJob, SyncJobTable } from '../config/job-config.ts';
import type { RemoteTable } from '../config/remote-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import { superuser } from '../config/user-config.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { RestClient } from '../protocol/rest-client.ts';
import { estimateSync, type ChunkSizes } from '../replication/estimate.ts';
import { FlightControl } from '../replication/flight-control.ts';
import { forecastWindow } from '../replication/forecast.ts';
import type { JobMemories, JobMemory } from '../replication/job-memory.ts';
import { LocalSource } from '../replication/local-source.ts';
import { LocalTarget } from '../replication/local-target.ts';
import { RemoteEstimateTarget } from '../replication/remote-estimate.ts';
import { Peer } from '../replication/peer.ts';
import type { Datastores } from './datastores.ts';
import { remoteEndpoint } from './remote-connection.ts';
import { remoteFailure } from './sync-line.ts';
import { planReply, type SyncPlanReply } from './sync-plan-reply.ts';
import { policyOf, sourceLabel, type SyncRuns } from './sync-runs.ts';

export interface SyncPlanParts {
  datastores: Datastores;
  remotes: RemoteTable;
  secrets: RemoteSecrets;
  settings: SettingsFile;
  jobs: SyncJobTable;
  memories: JobMemories;
  runs: Pick<SyncRuns, 'openSource' | 'openPush' | 'withBackfill' | 'adoptedChunks'>;
  log: ProgressLog;
}

export interface SyncPlanOptions {
  /** Only listings are asked for. */
  quick: boolean;
  /** Bytes a second; undefined = the job's `rate-in`, or `rate-out` if it pushes, else what the last run measured. */
  rate: number | undefined;
  windowHours: number;
}

/** Says what sync jobs would do now, without doing it. */
export class SyncPlans {
  readonly #parts: SyncPlanParts;

  constructor(parts: SyncPlanParts) {
    this.#parts = parts;
  }

  /** ConfigError for a job that there is not; what the remote or the line to it does. */
  async plan(id: string, options: SyncPlanOptions): Promise<SyncPlanReply> {
    const job = this.#parts.jobs.find(id);
    if (job === undefined) throw missingSection('sync', id);
    return job['sync-direction'] === 'push' ? this.#planPush(job, options) : this.#planPull(job, options);
  }

  async #planPush(job: SyncJob, options: SyncPlanOptions): Promise<SyncPlanReply> {
    const { memories, runs, log } = this.#parts;
    const ended = new AbortController();
    using push = await runs.openPush(job, job.owner ?? superuser, { log: silentLog, signal: ended.signal });
    const { source, target, policy, journal, permissions } = push;
    try {
      await target.begin();
      const estimate = await estimateSync({
        source,
        chunkSizes: (...asked) => source.chunkSizes(...asked),
        target: new RemoteEstimateTarget(target, (digest) => journal.has(digest)),
        policy,
        isDelivered: () => false,
        isUnchanged: (namespace, snapshot, listing) => journal.isUnchanged(namespace, snapshot, listing),
        onlyOwn: true,
        quick: options.quick,
        log,
        signal: ended.signal,
      });
      if (policy.encryptionKey !== undefined) estimate.problems.push('chunks are encrypted on their way: what the remote has of them already is not subtracted');
      const removes = new Set([...estimate.vanishedGroups.map(({ namespace }) => namespace), ...estimate.groups.filter(({ plan }) => plan.vanished.length > 0).map(({ targetNamespace }) => targetNamespace)]);
      for (const namespace of removes) {
        const refused = permissions.remove(namespace);
        if (refused !== null) estimate.problems.push(`nothing would be removed from ${namespace === '' ? 'the root namespace' : `namespace '${namespace}'`}: ${refused}`);
      }
      return planReply({ id: job.id, store: job.store, direction: 'push', source: job.store, target: sourceLabel(job) }, estimate, forecast(job, await memories.load(job.id), options));
    } catch (e) {
      throw remoteFailure(e, push.endpoint, job.remote!);
    } finally {
      ended.abort();
    }
  }

  async #planPull(job: SyncJob, options: SyncPlanOptions): Promise<SyncPlanReply> {
    const { memories, datastores, runs, log } = this.#parts;
    const { id } = job;
    const policy = runs.withBackfill(policyOf(job, job.owner ?? superuser), id, job.store);
    using target = await datastores.open(job.store, 'read');
    const endpoint = job.remote === undefined ? undefined : remoteEndpoint(this.#parts, job.remote);
    const ended = new AbortController();
    const rest = endpoint === undefined ? null : new RestClient(endpoint, { signal: ended.signal });
    try {
      using opened = await runs.openSource(job, policy, { flight: new FlightControl(systemClock), endpoint, stallTimeoutMs: undefined, signal: ended.signal });
      try {
        const { source, journal: { journal } } = opened;
        const adopted = await runs.adoptedChunks(job, endpoint);
        const estimate = await estimateSync({
          source,
          chunkSizes: source instanceof LocalSource ? (...asked) => source.chunkSizes(...asked) : rest === null ? undefined : sizesOf(new Peer(rest), job['remote-store']),
          target: new LocalTarget(target.store),
          policy,
          isDelivered: (digest) => journal.has(digest) || adopted?.has(digest) === true,
          isUnchanged: (namespace, snapshot, listing) => journal.isUnchanged(namespace, snapshot, listing),
          quick: options.quick,
          log,
          signal: ended.signal,
        });
        return planReply({ id, store: job.store, direction: 'pull', source: sourceLabel(job), target: job.store }, estimate, forecast(job, await memories.load(id), options));
      } finally {
        await opened.source.close();
      }
    } catch (e) {
      throw endpoint === undefined ? e : remoteFailure(e, endpoint, job.remote!);
    } finally {
      ended.abort();
      rest?.close();
    }
  }
}

function sizesOf(peer: Peer, store: string): ChunkSizes {
  return (namespace, snapshot, archive, entries) => peer.chunkSizes(store, namespace, snapshot, archive, entries);
}

export interface SyncForecast {
  rate: number | null;
  rateSource: 'given' | 'rate-in' | 'rate-out' | 'last run' | null;
  windowSeconds: number;
  window: ReturnType<typeof forecastWindow>;
  /** Sentences for people. */
  warnings: string[];
}

function forecast(job: SyncJob, { runs }: JobMemory, options: SyncPlanOptions): SyncForecast {
  const measured = runs.findLast((run) => run.ok && run.bytes > 0 && run.seconds > 0);
  const limit = job['sync-direction'] === 'push' ? 'rate-out' : 'rate-in';
  const limited = job[limit];
  const [rate, rateSource]: [number | null, SyncForecast['rateSource']] =
    options.rate !== undefined ? [options.rate, 'given'] : limited !== undefined ? [parseHumanByte(limited), limit] : measured === undefined ? [null, null] : [measured.bytes / measured.seconds, 'last run'];
  const windowSeconds = options.windowHours * 3600;
  const window = forecastWindow(runs, rate, windowSeconds);
  const warnings: string[] = [];
  const hours = `${options.windowHours} hours`;
  if (window.verdict === 'too small') warnings.push(`a day brings about ${humanSize(window.bytesPerDay!)}: that takes ${formatTimeSpan(Math.ceil(window.secondsPerDay!))}, more than the window of ${hours}`);
  else if (window.verdict === 'tight') warnings.push(`a day brings about ${humanSize(window.bytesPerDay!)}: that takes ${formatTimeSpan(Math.ceil(window.secondsPerDay!))} of the window of ${hours}, which leaves little room`);
  if (window.verdict !== 'too small' && window.daysUntilFull !== null) warnings.push(`the daily amount grows: in about ${window.daysUntilFull} days it will fill the window of ${hours}`);
  return { rate, rateSource, windowSeconds, window, warnings };
}
