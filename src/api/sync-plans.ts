import { FarshoreError } from '../base/errors.ts';
import { systemClock } from '../base/clock.ts';
import { humanSize } from '../base/human-size.ts';
import type { ProgressLog } from '../base/log.ts';
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
  runs: Pick<SyncRuns, 'openSource' | 'withBackfill' | 'adoptedChunks'>;
  log: ProgressLog;
}

export interface SyncPlanOptions {
  /** Only listings are asked for. */
  quick: boolean;
  /** Bytes a second; undefined = the job's `rate-in`, else what the last run measured. */
  rate: number | undefined;
  windowHours: number;
}

/** Says what sync jobs would do now, without doing it. */
export class SyncPlans {
  readonly #parts: SyncPlanParts;

  constructor(parts: SyncPlanParts) {
    this.#parts = parts;
  }

  /** ConfigError for a job that there is not; FarshoreError `sync.plan-push` for one that pushes; what the source or the line to it does. */
  async plan(id: string, options: SyncPlanOptions): Promise<SyncPlanReply> {
    const { jobs, memories, datastores, runs, log } = this.#parts;
    const job = jobs.find(id);
    if (job === undefined) throw missingSection('sync', id);
    if (job['sync-direction'] === 'push') throw new FarshoreError('sync.plan-push', `sync job '${id}' pushes: only pulls can be planned`);
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
        return planReply({ id, store: job.store, source: sourceLabel(job) }, estimate, forecast(job, await memories.load(id), options));
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
  rateSource: 'given' | 'rate-in' | 'last run' | null;
  windowSeconds: number;
  window: ReturnType<typeof forecastWindow>;
  /** Sentences for people. */
  warnings: string[];
}

function forecast(job: SyncJob, { runs }: JobMemory, options: SyncPlanOptions): SyncForecast {
  const measured = runs.findLast((run) => run.ok && run.bytes > 0 && run.seconds > 0);
  const [rate, rateSource]: [number | null, SyncForecast['rateSource']] =
    options.rate !== undefined ? [options.rate, 'given'] : job['rate-in'] !== undefined ? [parseHumanByte(job['rate-in']), 'rate-in'] : measured === undefined ? [null, null] : [measured.bytes / measured.seconds, 'last run'];
  const windowSeconds = options.windowHours * 3600;
  const window = forecastWindow(runs, rate, windowSeconds);
  const warnings: string[] = [];
  const hours = `${options.windowHours} hours`;
  if (window.verdict === 'too small') warnings.push(`a day brings about ${humanSize(window.bytesPerDay!)}: that takes ${formatTimeSpan(Math.ceil(window.secondsPerDay!))}, more than the window of ${hours}`);
  else if (window.verdict === 'tight') warnings.push(`a day brings about ${humanSize(window.bytesPerDay!)}: that takes ${formatTimeSpan(Math.ceil(window.secondsPerDay!))} of the window of ${hours}, which leaves little room`);
  if (window.verdict !== 'too small' && window.daysUntilFull !== null) warnings.push(`the daily amount grows: in about ${window.daysUntilFull} days it will fill the window of ${hours}`);
  return { rate, rateSource, windowSeconds, window, warnings };
}
