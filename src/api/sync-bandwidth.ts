import { nowSeconds, type Clock } from '../base/clock.ts';
import { errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { SyncJob } from '../config/job-config.ts';
import type { JobBandwidth } from '../config/job-bandwidth.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { allTolls, FairBucket, type FairBucketOptions, type Rate } from '../protocol/fair-bucket.ts';
import { RateLimiter, type TollSource } from '../protocol/rate-limit.ts';
import { bandwidthAt, parseBandwidthTimetable, type BandwidthTimetable } from '../schedule/bandwidth-timetable.ts';

export interface SyncBandwidthParts {
  timetables: Pick<JobBandwidth, 'of' | 'shared'>;
  clock: Clock;
  log: Pick<ProgressLog, 'error'>;
  /** Default: the process's. */
  timeZone?: string;
  /** Of the buckets; for tests. */
  buckets?: FairBucketOptions;
}

/** A job, or a pull or push by hand, which has no id. */
export type LimitedJob = Pick<SyncJob, 'rate-in' | 'rate-out' | 'burst-in' | 'burst-out'> & { id?: string };

type Direction = 'in' | 'out';

function ownRate(job: LimitedJob, direction: Direction): Rate {
  const text = job[`rate-${direction}`];
  const rate = text === undefined ? 0 : parseHumanByte(text);
  const burst = job[`burst-${direction}`];
  return { rate, burst: burst === undefined ? rate : parseHumanByte(burst) };
}

/** A timetable that is read again when its text changes. */
class CurrentTimetable {
  readonly #text: () => string | undefined;
  #read: { text: string; timetable: BandwidthTimetable } | null = null;

  constructor(text: () => string | undefined) {
    this.#text = text;
  }

  /** Null: there is none. ConfigError when it cannot be read. */
  get(): BandwidthTimetable | null {
    const text = this.#text();
    if (text === undefined || text === '') return null;
    if (this.#read?.text !== text) this.#read = { text, timetable: parseBandwidthTimetable(text) };
    return this.#read.timetable;
  }
}

/**
 * How fast sync jobs may be (spec sync 9): by the rates of sync.cfg, which the job's timetable replaces at the times that it names, and by the timetable for all
 * jobs together, whose rate running jobs share equally, whatever the number of their connections. Both are looked at once a second while a job runs.
 */
export class SyncBandwidth {
  readonly #parts: SyncBandwidthParts;
  readonly #shared: CurrentTimetable;
  readonly #sharedBuckets: Record<Direction, FairBucket>;

  constructor(parts: SyncBandwidthParts) {
    this.#parts = parts;
    this.#shared = new CurrentTimetable(() => parts.timetables.shared());
    const rateNow = this.#rates(this.#shared, 'of all sync jobs', { rate: 0, burst: 0 });
    this.#sharedBuckets = { in: this.#bucket(rateNow), out: this.#bucket(rateNow) };
  }

  /** For one run. A timetable or a rate that cannot be read is a ConfigError: better no run than one without its limit. */
  limiterOf(job: LimitedJob): RateLimiter {
    const { id } = job;
    const own = new CurrentTimetable(() => (id === undefined ? undefined : this.#parts.timetables.of(id)));
    const hasTimetable = own.get() !== null;
    const isShared = this.#shared.get() !== null;
    const source = (direction: Direction): TollSource | undefined => {
      const rate = ownRate(job, direction);
      const sources: TollSource[] = [];
      if (hasTimetable) sources.push(this.#bucket(this.#rates(own, `of sync job '${id}'`, rate)));
      else if (rate.rate > 0) sources.push(new FairBucket(rate, this.#parts.buckets));
      if (isShared) sources.push(this.#sharedBuckets[direction].party());
      if (sources.length < 2) return sources[0];
      return { toll: () => allTolls(sources.map((one) => one.toll())) };
    };
    return RateLimiter.of(source('in'), source('out'));
  }

  #bucket(rateNow: () => Rate): FairBucket {
    return new FairBucket({ rate: 0, burst: 0 }, { ...this.#parts.buckets, rateNow });
  }

  /** What holds now; `otherwise` where the timetable says nothing. What has become unreadable leaves the last rate. */
  #rates(timetable: CurrentTimetable, whose: string, otherwise: Rate): () => Rate {
    let last = otherwise;
    let complained = false;
    return () => {
      try {
        const current = timetable.get();
        const rate = current === null ? null : bandwidthAt(current, nowSeconds(this.#parts.clock), this.#parts.timeZone);
        last = rate === null ? otherwise : { rate, burst: rate };
        complained = false;
      } catch (e) {
        if (!complained) this.#parts.log.error(`the bandwidth timetable ${whose} cannot be read, the last rate goes on: ${errorChain(e)}`);
        complained = true;
      }
      return last;
    };
  }
}
