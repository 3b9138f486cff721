import { ConfigError } from '../base/errors.ts';

/** In the order in which they are worked (spec retention 2.3). */
export const keepOptionNames = ['keep-last', 'keep-hourly', 'keep-daily', 'keep-weekly', 'keep-monthly', 'keep-yearly'] as const;
export type KeepOptionName = (typeof keepOptionNames)[number];

/** How many periods of each kind keep a snapshot; whole numbers ≥ 1. None given = nothing is ever removed. */
export type KeepOptions = { readonly [name in KeepOptionName]?: number | undefined };

/** `keep-partial` is the newest snapshot of a group when it is unfinished, usually a running backup. */
export type PruneMark = 'keep' | 'keep-partial' | 'protected' | 'remove';

export interface PruneCandidate {
  /** Seconds since the epoch. */
  readonly time: number;
  readonly finished: boolean;
  readonly protected: boolean;
}

export interface PruneDecision<C extends PruneCandidate> {
  readonly snapshot: C;
  readonly mark: PruneMark;
  /** False = to be removed. True for everything when no option is given, whatever the mark. */
  readonly keep: boolean;
}

/** True when at least one option is given. */
export function keepsAnything(options: KeepOptions): boolean {
  return keepOptionNames.some((name) => options[name] !== undefined);
}

/** Throws ConfigError `config.keep-option` unless every given option is a whole number ≥ 1 (spec retention 2.1). */
export function checkKeepOptions(options: KeepOptions): void {
  for (const name of keepOptionNames) {
    const value = options[name];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value)) {
      throw new ConfigError('config.keep-option', `parameter verification failed - '${name}': Expected integer value.`);
    }
    if (value < 1) {
      throw new ConfigError('config.keep-option', `parameter verification failed - '${name}': value must have a minimum value of 1 (got ${value})`);
    }
  }
}

/**
 * `--keep-last 3 --keep-daily 7` of the given options, joined by one space, as task logs show them (spec retention 11.1).
 */
export function keepOptionsText(options: KeepOptions): string {
  return keepOptionNames
    .filter((name) => options[name] !== undefined)
    .map((name) => `--${name} ${options[name]!}`)
    .join(' ');
}

type PeriodKey = (time: Temporal.ZonedDateTime) => string;

/** Names of the period that a local time falls into. They hold no UTC offset: the two hours of an autumn change are one hour. */
const periodKeys: Readonly<Record<Exclude<KeepOptionName, 'keep-last'>, PeriodKey>> = {
  'keep-hourly': (t) => `${t.year}/${t.month}/${t.day}/${t.hour}`,
  'keep-daily': (t) => `${t.year}/${t.month}/${t.day}`,
  'keep-weekly': (t) => `${t.yearOfWeek}/${t.weekOfYear}`,
  'keep-monthly': (t) => `${t.year}/${t.month}`,
  'keep-yearly': (t) => `${t.year}`,
};

/**
 * Decides for the snapshots of one group which ones stay; the result is sorted oldest first (spec retention 2, rest-api 10.8).
 * Pure: the current time plays no part. `timeZone` is the IANA name of the server's zone. Throws ConfigError for
 * options that are not whole numbers ≥ 1.
 */
export function selectForPrune<C extends PruneCandidate>(snapshots: readonly C[], options: KeepOptions, timeZone: string): PruneDecision<C>[] {
  checkKeepOptions(options);
  const newestFirst = snapshots.toSorted((a, b) => b.time - a.time);
  const marks = new Map<C, PruneMark>();
  newestFirst.forEach((snapshot, i) => {
    if (!snapshot.finished) marks.set(snapshot, i === 0 ? 'keep-partial' : 'remove');
  });

  const local = new Map<C, Temporal.ZonedDateTime>();
  const localTime = (snapshot: C): Temporal.ZonedDateTime => {
    let time = local.get(snapshot);
    if (time === undefined) {
      time = Temporal.Instant.fromEpochMilliseconds(snapshot.time * 1000).toZonedDateTimeISO(timeZone);
      local.set(snapshot, time);
    }
    return time;
  };
  for (const name of keepOptionNames) {
    const count = options[name];
    if (count === undefined) continue;
    const key = name === 'keep-last' ? (snapshot: C): string => String(snapshot.time) : (snapshot: C): string => periodKeys[name](localTime(snapshot));
    applyOption(newestFirst, marks, count, key);
  }

  const keepAll = !keepsAnything(options);
  return newestFirst.toReversed().map((snapshot) => {
    const mark: PruneMark = snapshot.protected ? 'protected' : (marks.get(snapshot) ?? 'remove');
    return { snapshot, mark, keep: keepAll || mark !== 'remove' };
  });
}

/** One option: the newest snapshot of each of the `count` newest periods that no earlier option has covered. */
function applyOption<C extends PruneCandidate>(newestFirst: readonly C[], marks: Map<C, PruneMark>, count: number, key: (snapshot: C) => string): void {
  const covered = new Set<string>();
  for (const [snapshot, mark] of marks) if (mark === 'keep') covered.add(key(snapshot));
  const chosen = new Set<string>();
  for (const snapshot of newestFirst) {
    if (marks.has(snapshot)) continue;
    if (snapshot.protected) {
      marks.set(snapshot, 'protected');
      continue;
    }
    const period = key(snapshot);
    if (covered.has(period)) continue;
    // Asked before the count: further snapshots of the last chosen period are final, too.
    if (chosen.has(period)) {
      marks.set(snapshot, 'remove');
      continue;
    }
    if (chosen.size >= count) break;
    chosen.add(period);
    marks.set(snapshot, 'keep');
  }
}
