import { inTime, pause } from '../base/async.ts';
import { BackgroundLoop } from '../base/background-loop.ts';
import { nowSeconds } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { errorChain, errorCode, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { nextEventAfter, parseCalendarEvent } from './calendar-event.ts';
import { jobRunningCode } from './job-run.ts';
import { lastRunTime } from './job-state.ts';
import type { JobStates } from './job-states.ts';

export interface ScheduledJob {
  id: string;
  /** Calendar event; jobs without one are never due. */
  schedule: string | undefined;
  disabled?: boolean;
  /**
   * Starts the job; may resolve at its start or at its end. `store.job-running` (startJob with `waitMs: 0`) is skipped in
   * silence.
   */
  run(): Promise<void>;
}

/** Where the scheduler learns of the jobs of one type, anew at each pass. */
export interface JobSource {
  jobType: string;
  list(): Promise<ScheduledJob[]>;
}

/** Order of a pass (spec server 8); other types come last. */
const jobTypeOrder = [
  'garbage_collection',
  'prunejob',
  'syncjob',
  'verificationjob',
  'tape-backup-job',
  'logrotate',
  'notification-threshold-reset',
];

/** What a pass did, for what hangs on it: notifications, freshness, metrics. */
export interface SchedulerPass {
  /** Seconds since the epoch. */
  at: number;
  /** `{type} {id}` of the jobs that were started. */
  started: readonly string[];
  /** What went wrong, as logged. */
  problems: readonly string[];
}

export interface SchedulerOptions {
  sources: readonly JobSource[];
  states: JobStates;
  clock: Clock;
  /** The server's log. */
  log: ProgressLog;
  /** Default: the process's. */
  timeZone?: string;
  onPass?: (pass: SchedulerPass) => void | Promise<void>;
  /** Longest time that a source may take to list its jobs. */
  listLimitMs?: number;
  /** For tests; default: a timer. */
  sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

const minuteMs = 60_000;
/** A last run further ahead of the clock than this is not waited for. */
const believedAheadSeconds = 86_400;
const defaultListLimitMs = 30_000;

/**
 * Starts jobs when they are due: on every full minute it compares each job's next event after its last run with the clock
 * (spec server 8). A missed run happens once, at the next pass.
 *
 * A clock that was set back re-runs nothing and stops nothing: last run times that lie up to a day ahead are waited for,
 * since their event has fired already; later ones come from a clock that was wrong, and the job counts from now on.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #sources: readonly JobSource[];
  /** Jobs whose `run` has not returned, sources whose `list` has not. */
  readonly #inFlight = new Set<string>();
  /** Problems already logged, so that one that lasts is not logged every minute. */
  #known = new Set<string>();
  readonly #loop = new BackgroundLoop();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const rank = ({ jobType }: JobSource): number => {
      const index = jobTypeOrder.indexOf(jobType);
      return index < 0 ? jobTypeOrder.length : index;
    };
    this.#sources = options.sources.toSorted((a, b) => rank(a) - rank(b));
  }

  /** Begins; the first pass is at the next full minute. */
  start(): void {
    this.#loop.start((signal) => this.#run(signal));
  }

  /** Ends; resolves when the pass under way is over. Started jobs go on. */
  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const sleep = this.#options.sleep ?? pause;
    const { clock } = this.#options;
    while (!signal.aborted) {
      const from = clock.now();
      const target = (Math.floor(from / minuteMs) + 1) * minuteMs;
      try {
        // Timers may come early. A clock that is set back ends the wait: the next minute is then another one.
        for (let now = from; now < target && now >= target - minuteMs; now = clock.now()) await sleep(target - now, signal);
      } catch (e) {
        if (signal.aborted) return;
        throw e;
      }
      if (signal.aborted) return;
      if (clock.now() >= target) await this.pass();
    }
  }

  /** One look at all jobs. Never rejects: what goes wrong with one source or job is logged and leaves the others alone. */
  async pass(): Promise<void> {
    const at = nowSeconds(this.#options.clock);
    const started: string[] = [];
    const problems: string[] = [];
    for (const source of this.#sources) {
      try {
        for (const job of await this.#list(source)) {
          await this.#look(source.jobType, job, at, started, problems);
        }
      } catch (e) {
        problems.push(`unable to list jobs of type ${source.jobType}: ${errorChain(e)}`);
      }
    }
    for (const problem of problems) if (!this.#known.has(problem)) this.#options.log.error(problem);
    this.#known = new Set(problems);
    try {
      await this.#options.onPass?.({ at, started, problems });
    } catch (e) {
      this.#options.log.error(`scheduler observer failed: ${errorChain(e)}`);
    }
  }

  async #list(source: JobSource): Promise<ScheduledJob[]> {
    const name = `list ${source.jobType}`;
    if (this.#inFlight.has(name)) throw new StoreError('store.timeout', 'still waiting for the list');
    this.#inFlight.add(name);
    const listed = source.list().finally(() => this.#inFlight.delete(name));
    const limitMs = this.#options.listLimitMs ?? defaultListLimitMs;
    return inTime(listed, limitMs, () => new StoreError('store.timeout', `no answer within ${limitMs} ms`));
  }

  async #look(jobType: string, job: ScheduledJob, at: number, started: string[], problems: string[]): Promise<void> {
    const name = `${jobType} ${job.id}`;
    if (job.disabled === true || job.schedule === undefined || job.schedule === '' || this.#inFlight.has(name)) return;
    try {
      if (!(await this.#isDue(jobType, job.id, job.schedule, at))) return;
    } catch (e) {
      problems.push(`unable to schedule ${jobType} '${job.id}': ${errorChain(e)}`);
      return;
    }
    started.push(name);
    this.#inFlight.add(name);
    // Not waited for: jobs run at the same time, and one that hangs must not hold up the others.
    void this.#start(name, job);
  }

  async #start(name: string, job: ScheduledJob): Promise<void> {
    try {
      await job.run();
    } catch (e) {
      if (errorCode(e) !== jobRunningCode) this.#options.log.error(`unable to start ${name}: ${errorChain(e)}`);
    } finally {
      this.#inFlight.delete(name);
    }
  }

  async #isDue(jobType: string, id: string, schedule: string, at: number): Promise<boolean> {
    const event = parseCalendarEvent(schedule);
    const state = await this.#options.states.loadOrCreate({ jobType, id });
    if (state.state === 'started') return false;
    const last = lastRunTime(state);
    if (last > at + believedAheadSeconds) {
      this.#options.log.warn(`last run of ${jobType} '${id}' lies more than a day ahead of the clock, counting from now on`);
      await this.#options.states.renew({ jobType, id });
      return false;
    }
    const next = nextEventAfter(event, last, this.#options.timeZone);
    return next !== null && next <= at;
  }
}
