import { errorChain } from '../../src/base/errors.ts';
import type { ReplicationReport } from '../../src/replication/report.ts';
import { ProcessMeter, type ProcessFigures } from './process-meter.ts';

/** What every job prints. */
export interface JobFigures extends ProcessFigures {
  seconds: number;
  snapshots: number;
}

export interface JobOutcome {
  report: ReplicationReport | null;
  error: unknown;
  log: { lines: readonly string[] };
}

/** Runs a job in a process of its own: prints one line of JSON, `result` of its report with what it cost; or the error's text and the log, and status 1. */
export async function reportJob(job: () => Promise<JobOutcome>, result: (report: ReplicationReport) => object): Promise<void> {
  const meter = new ProcessMeter();
  const startedMs = performance.now();
  const { report, error, log } = await job();
  const seconds = (performance.now() - startedMs) / 1000;
  const figures = meter.figures();
  meter.stop();
  if (report === null) {
    console.error(`${errorChain(error)}\n${log.lines.join('\n')}`);
    process.exitCode = 1;
  } else {
    const common: JobFigures = { seconds, snapshots: report.snapshots, ...figures };
    console.log(JSON.stringify({ ...common, ...result(report) }));
  }
}
