import { formatTimeSpan } from '../base/time-span.ts';

/** What a contract promises, taken apart. Seconds. */
export interface Terms {
  maxAge: number;
  /** When it was last set: what never was there counts as this old. */
  since: number;
}

/** One thing that must be young: the newest snapshot of a scope or of one group, or a job's last successful run. */
export interface Subject {
  /** For people, and the same at every look: `newest snapshot`, `vm/100`, `last successful run`. */
  name: string;
  /** Seconds since the epoch; null: there is none. */
  time: number | null;
  /** It was there at an earlier look: that there is none now is worse than that there is none yet. */
  seen: boolean;
}

/** What a look at a contract's scope found. */
export interface Evidence {
  subjects: Subject[];
  /** Why the scope could not be looked at. */
  problem: string | null;
  /** What explains an age, for people: the job is gone, its last run failed. */
  notes: string[];
}

/** `ok`; `pending`: nothing is there yet, and need not be; `unknown`: it cannot be seen, and what was seen last is young enough; `stale`: the alarm. */
export type ContractState = 'ok' | 'pending' | 'unknown' | 'stale';

export interface Judgement {
  state: ContractState;
  /** Of the oldest subject, in seconds; null when there is none. */
  age: number | null;
  /** Time of the oldest subject. */
  newest: number | null;
  /** One sentence. */
  text: string;
}

/** Snapshots further ahead of the clock than this do not count: one from a source with a wrong clock would hide all that is missing. */
export const believedAheadSeconds = 600;
const maxNamed = 5;

/** Pure. `now`: seconds since the epoch. */
export function judge(terms: Terms, evidence: Evidence, now: number): Judgement {
  const aged = evidence.subjects
    .map((subject) => ({ ...subject, age: subject.time === null ? (subject.seen ? Number.POSITIVE_INFINITY : Math.max(0, now - terms.since)) : Math.max(0, now - subject.time) }))
    .toSorted((a, b) => b.age - a.age);
  const [oldest] = aged;
  const stale = aged.filter(({ age }) => age > terms.maxAge);
  const common = { age: oldest?.time === null || oldest === undefined ? null : oldest.age, newest: oldest?.time ?? null };
  const why = [...(evidence.problem === null ? [] : [evidence.problem]), ...evidence.notes].join('; ');
  const withWhy = (text: string): string => (why === '' ? text : `${text} (${why})`);
  if (stale.length > 0) {
    const named = stale.slice(0, maxNamed).map((one) => `${one.name}: ${ageText(one)}`);
    const more = stale.length > maxNamed ? ` and ${stale.length - maxNamed} more` : '';
    return { state: 'stale', ...common, text: withWhy(`${named.join(', ')}${more}, allowed ${span(terms.maxAge)}`) };
  }
  if (evidence.problem !== null) return { state: 'unknown', ...common, text: withWhy('cannot be seen') };
  if (oldest === undefined || oldest.time === null) return { state: 'pending', ...common, text: withWhy(`${oldest?.name ?? 'snapshot'}: none yet, expected within ${span(terms.maxAge)} of when the contract was set`) };
  return { state: 'ok', ...common, text: withWhy(`${oldest.name}: ${span(oldest.age)} old, allowed ${span(terms.maxAge)}`) };
}

function ageText({ age, time, seen }: { age: number; time: number | null; seen: boolean }): string {
  if (time !== null) return `${span(age)} old`;
  return seen ? 'none any more' : `none for ${span(age)}`;
}

/** To the minute where seconds say nothing. */
function span(seconds: number): string {
  return formatTimeSpan(seconds < 600 ? Math.round(seconds) : Math.floor(seconds / 60) * 60);
}
