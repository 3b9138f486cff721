import { RE2JS } from 're2js';
import { HttpError, toError } from '../base/errors.ts';
import type { MatcherRecord } from '../config/notification-config.ts';
import { matchesDailyDuration, parseDailyDuration } from '../schedule/daily-duration.ts';

/** Which notifications go to which targets (spec server 14.2). */

export const severities = ['info', 'notice', 'warning', 'error', 'unknown'] as const;
export type Severity = (typeof severities)[number];

/** What matchers look at. */
export interface Matchable {
  severity: Severity;
  /** `type`, `hostname`, `datastore`, `job-id` ... */
  fields: Readonly<Record<string, string>>;
  /** Seconds since the epoch. */
  time: number;
}

type Rule = (event: Matchable) => boolean;

const fieldStatement = /^(exact|regex):([A-Za-z0-9_][A-Za-z0-9._-]*)=(.*)$/s;

/** `exact:FIELD=a,b` or `regex:FIELD=RE`; regexes take linear time. HttpError 400 in the reference's words. */
export function fieldRule(text: string): Rule {
  const [, kind, field, value = ''] = fieldStatement.exec(text) ?? [];
  if (field === undefined) throw new HttpError(400, `could not apply filter: invalid match-field statement: ${text}`);
  const valueOf = ({ fields }: Matchable): string | undefined => (Object.hasOwn(fields, field) ? fields[field] : undefined);
  if (kind === 'exact') {
    const items = new Set(value.split(',').map((item) => item.trim()));
    return (event) => {
      const found = valueOf(event);
      return found !== undefined && items.has(found);
    };
  }
  let regex: RE2JS;
  try {
    regex = RE2JS.compile(value);
  } catch (e) {
    throw new HttpError(400, `could not apply filter: invalid regex: ${toError(e).message}`, { cause: e });
  }
  return (event) => {
    const found = valueOf(event);
    return found !== undefined && regex.matcher(found).find();
  };
}

/** `error,warning`. HttpError 400 in the reference's words. */
export function severityRule(text: string): Rule {
  const listed = new Set(text.split(',').map((item) => item.trim()));
  for (const one of listed) if (!(severities as readonly string[]).includes(one)) throw new HttpError(400, `invalid severity ${one}`);
  return ({ severity }) => listed.has(severity);
}

/** `mon..fri 8-17`, on the wall of `timeZone`. HttpError 400. */
export function calendarRule(text: string, timeZone?: string): Rule {
  try {
    const duration = parseDailyDuration(text);
    return ({ time }) => matchesDailyDuration(duration, time, timeZone);
  } catch (e) {
    throw new HttpError(400, `could not parse schedule: ${toError(e).message}`, { cause: e });
  }
}

type Combination = (results: readonly boolean[]) => boolean;

/** Whether a matcher, which may be disabled, takes an event. HttpError 400 when one of its rules cannot be understood. */
export function matcherRule(matcher: MatcherRecord, timeZone?: string): Rule {
  const groups = [
    (matcher['match-severity'] ?? []).map(severityRule),
    (matcher['match-field'] ?? []).map(fieldRule),
    (matcher['match-calendar'] ?? []).map((text) => calendarRule(text, timeZone)),
  ].filter((rules) => rules.length > 0);
  if (matcher.disable === true) return () => false;
  // Without rules it matches whatever `invert-match` says.
  if (groups.length === 0) return () => true;
  const combined: Combination = matcher.mode === 'any' ? (results) => results.includes(true) : (results) => !results.includes(false);
  return (event) => combined(groups.map((rules) => combined(rules.map((rule) => rule(event))))) !== (matcher['invert-match'] ?? false);
}

/** Names of the targets of all matchers that take the event, each once, in the order of the matchers. `onBroken` is told of matchers that cannot be understood; they are left out. */
export function matchedTargets(matchers: readonly MatcherRecord[], event: Matchable, options: { timeZone?: string; onBroken: (name: string, reason: unknown) => void }): string[] {
  const targets = new Set<string>();
  for (const matcher of matchers) {
    try {
      if (matcherRule(matcher, options.timeZone)(event)) for (const target of matcher.target ?? []) targets.add(target);
    } catch (e) {
      options.onBroken(matcher.name, e);
    }
  }
  return [...targets];
}
