import { BlockList, isIP } from 'node:net';
import type { TrafficRule } from '../../config/traffic-config.ts';
import { matchesDailyDuration, parseDailyDuration, type DailyDuration } from '../../schedule/daily-duration.ts';

/** Which traffic rule a connection has (spec server 12). */

interface Network {
  prefix: number;
  contains(address: string, family: 4 | 6): boolean;
}

/** A rule of traffic-control.cfg, read once. */
export interface PreparedRule {
  readonly record: TrafficRule;
  readonly networks: readonly Network[];
  /** None: always. */
  readonly frames: readonly DailyDuration[];
  /** Undefined: everybody, also callers that are not known (yet). */
  readonly users: ReadonlySet<string> | undefined;
}

/** ConfigError for a time frame, FormatError or RangeError for a network that cannot be read: the table and the API let none in. */
export function prepareRule(record: TrafficRule): PreparedRule {
  const { timeframe = [], users } = record;
  return {
    record,
    networks: record.network.map(network),
    frames: timeframe.map(parseDailyDuration),
    users: users === undefined || users.length === 0 ? undefined : new Set(users),
  };
}

function network(text: string): Network {
  const [address = '', length] = text.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const prefix = Number(length);
  const list = new BlockList();
  list.addSubnet(address, prefix, family);
  return { prefix, contains: (peer, peerFamily) => family === `ipv${peerFamily}` && list.check(peer, family) };
}

/** A peer's address as rules see it: IPv4-mapped ones are IPv4. Null when it is none. */
export function peerAddress(text: string): { address: string; family: 4 | 6 } | null {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(text);
  const address = mapped?.[1] ?? text.replace(/%.*$/, '');
  const family = isIP(address);
  return family === 4 || family === 6 ? { address, family } : null;
}

/** Longest prefix of the rule's networks that holds the peer; -1 when none does. */
function matchLength(rule: PreparedRule, peer: { address: string; family: 4 | 6 }): number {
  return rule.networks.reduce((longest, one) => (one.prefix > longest && one.contains(peer.address, peer.family) ? one.prefix : longest), -1);
}

/** Whether some rule can ever be for this peer, whoever logs in and whenever. */
export function coversPeer(rules: readonly PreparedRule[], address: string): boolean {
  const peer = peerAddress(address);
  return peer !== null && rules.some((rule) => matchLength(rule, peer) >= 0);
}

export interface RuleQuestion {
  /** As the socket has it. */
  address: string;
  /** `name@realm`, never a token; null: not known. */
  user: string | null;
  /** Seconds since the epoch. */
  seconds: number;
  /** Default: the process's. */
  timeZone?: string | undefined;
}

/** The one rule that holds: rules with users before those without, then the longest prefix, then file order. Null: not limited. */
export function chooseRule(rules: readonly PreparedRule[], { address, user, seconds, timeZone }: RuleQuestion): PreparedRule | null {
  const peer = peerAddress(address);
  if (peer === null) return null;
  let best: { rule: PreparedRule; length: number } | null = null;
  for (const rule of rules) {
    if (rule.frames.length > 0 && !rule.frames.some((frame) => matchesDailyDuration(frame, seconds, timeZone))) continue;
    if (rule.users !== undefined && (user === null || !rule.users.has(user))) continue;
    const length = matchLength(rule, peer);
    if (length < 0) continue;
    const isBetter = best === null || (rule.users !== undefined) !== (best.rule.users !== undefined) ? best === null || rule.users !== undefined : length > best.length;
    if (isBetter) best = { rule, length };
  }
  return best?.rule ?? null;
}
