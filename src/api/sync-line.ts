import { errorChain, FarshoreError, HttpError, NetworkError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { SettingsFile } from '../config/farshore-config.ts';
import type { SyncJob } from '../config/job-config.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { diagnose } from '../protocol/diagnosis.ts';
import { RateLimiter } from '../protocol/rate-limit.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../replication/line-retry.ts';
import type { ReplicationReport } from '../replication/report.ts';

/** What a sync, in either direction, does with its line. */

/** For forecasts: what cannot be kept does not make the run fail. */
export async function rememberRun(memories: JobMemories, jobId: string, run: { startMs: number; report: ReplicationReport; log: Pick<ProgressLog, 'warn'> }): Promise<void> {
  const { startMs, report, log } = run;
  try {
    await memories.rememberRun(jobId, {
      start: Math.floor(startMs / 1000),
      seconds: report.elapsedSeconds,
      bytes: report.fetchedBytes,
      ok: report.complete && report.errors.length === 0,
      chunks: report.fetchedChunks,
      reused: report.reusedChunks,
      'failed-groups': report.failedGroups,
    });
  } catch (e) {
    log.warn(`what sync job '${jobId}' moved is not remembered: ${errorChain(e)}`);
  }
}

/** One bucket pair for all connections of a job (spec sync 9). */
export function limiterOf(rates: Pick<SyncJob, 'rate-in' | 'rate-out' | 'burst-in' | 'burst-out'>): RateLimiter {
  const bytes = (text: string | undefined): number | undefined => (text === undefined ? undefined : parseHumanByte(text));
  return new RateLimiter({ rateIn: bytes(rates['rate-in']), burstIn: bytes(rates['burst-in']), rateOut: bytes(rates['rate-out']), burstOut: bytes(rates['burst-out']) });
}

/** How long a silent line is waited for, and how often it is tried again. */
export function linePatience(settings: SettingsFile): { stallTimeoutMs: number | undefined; retry: RetryPolicy } {
  const { 'sync-stall-timeout': stall, 'sync-attempts': attempts } = settings.load().value;
  return {
    stallTimeoutMs: stall === undefined ? undefined : stall * 1000,
    retry: { ...defaultRetryPolicy, attemptsWithoutProgress: attempts ?? defaultRetryPolicy.attemptsWithoutProgress },
  };
}

/** What the remote or the line to it did, as one sentence that says that it was the remote, with the command that mends it. */
export function remoteFailure(e: unknown, endpoint: RemoteEndpoint, remoteName: string): unknown {
  if (!(e instanceof HttpError || e instanceof NetworkError)) return e;
  const { detail, hint } = diagnose(e, endpoint, { remoteName });
  return new FarshoreError('sync.remote', `remote '${remoteName}': ${detail}`, { cause: e, hint: hint ?? `\`farshore remote test ${remoteName}\` says more` });
}

/** The task ends with the error anyway; what mends it belongs beside it. */
export function explain(log: ProgressLog, e: unknown): void {
  if (e instanceof FarshoreError && e.hint !== undefined && e.code !== 'sync.errors') log.info(`Mend it with: ${e.hint}`);
}
