import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { errorChain } from '../../base/errors.ts';
import type { ProgressLog } from '../../base/log.ts';
import type { TrafficRule, TrafficRuleTable } from '../../config/traffic-config.ts';
import { userOf } from '../../format/auth-id.ts';
import { parseHumanByte } from '../../format/human-byte.ts';
import { FairBucket, type Rate, type Toll } from '../../protocol/fair-bucket.ts';
import { ThrottledSocket } from '../../protocol/rate-limit.ts';
import { RecentRate } from './recent-rate.ts';
import { chooseRule, coversPeer, prepareRule, type PreparedRule } from './rule-choice.ts';

/** How often a connection in use asks again which rule it has (spec server 12), and how old the rules may be. */
const lookAgainMs = 5000;

export interface TrafficControlParts {
  table: TrafficRuleTable;
  clock: Clock;
  log: ProgressLog;
  /** Default: the process's. */
  timeZone?: string;
}

type Direction = 'in' | 'out';

function rateOf(rule: TrafficRule | undefined, direction: Direction): Rate {
  const text = rule?.[`rate-${direction}`];
  if (text === undefined) return { rate: 0, burst: 0 };
  const rate = parseHumanByte(text);
  const burst = rule?.[`burst-${direction}`];
  return { rate, burst: burst === undefined ? rate : parseHumanByte(burst) };
}

/** One direction of one rule: a bucket for all connections that have the rule, which their peers share equally. */
class RuleLine {
  readonly bucket: FairBucket;
  readonly recent = new RecentRate();
  readonly #parties = new Map<string, { party: { toll(): Toll }; lanes: number }>();

  constructor(rate: Rate, rateNow: () => Rate) {
    this.bucket = new FairBucket(rate, { rateNow });
  }

  /** `peer` names who shares with whom. Every `join` needs its `leave`. */
  join(peer: string): Toll {
    const known = this.#parties.get(peer) ?? { party: this.bucket.party(), lanes: 0 };
    known.lanes += 1;
    this.#parties.set(peer, known);
    return known.party.toll();
  }

  leave(peer: string): void {
    const known = this.#parties.get(peer);
    if (known === undefined) return;
    known.lanes -= 1;
    if (known.lanes === 0) this.#parties.delete(peer);
  }
}

type RuleLines = Record<Direction, RuleLine>;

/** One connection: which rule it has now. */
interface Lane {
  address: string;
  user: string | null;
  /** Of the rules that it was looked up in. */
  generation: number;
  lookedMs: number;
  lines: (RuleLines & { peer: string; tolls: Record<Direction, Toll> }) | null;
}

/** Limits what goes through the connections of the TLS listener, by the rules of traffic-control.cfg (spec server 12). */
export class TrafficControl {
  readonly #parts: TrafficControlParts;
  readonly #lines = new Map<string, RuleLines>();
  readonly #lanes = new WeakMap<Duplex, Lane>();
  #rules: readonly PreparedRule[] = [];
  #digest: string | null = null;
  #generation = 0;
  #checkedMs = -Infinity;

  constructor(parts: TrafficControlParts) {
    this.#parts = parts;
  }

  /** For the listener: the connection itself when no rule can ever be for its peer, so that it costs nothing. */
  wrap(socket: Socket): Duplex {
    this.#refresh();
    const address = socket.remoteAddress ?? '';
    if (!coversPeer(this.#rules, address)) return socket;
    const lane: Lane = { address, user: null, generation: -1, lookedMs: -Infinity, lines: null };
    const toll = (direction: Direction): Toll => ({ pay: (bytes, go) => this.#pay(lane, direction, bytes, go) });
    const limited = new ThrottledSocket(socket, toll('in'), toll('out'));
    this.#lanes.set(limited, lane);
    limited.once('close', () => this.#leave(lane));
    return limited;
  }

  /** Who has just been authenticated on a connection; empty: nobody. A token counts as its user. */
  identify(connection: Duplex, authId: string): void {
    const lane = this.#lanes.get(connection);
    const user = authId === '' ? null : userOf(authId);
    if (lane === undefined || lane.user === user) return;
    lane.user = user;
    lane.generation = -1;
  }

  /** Reads the rules now, for open connections, too. */
  refresh(): void {
    this.#checkedMs = -Infinity;
    this.#refresh();
  }

  /** Bytes per second of the last full second. */
  current(name: string): Record<Direction, number> {
    const lines = this.#lines.get(name);
    const now = this.#parts.clock.now();
    return { in: lines?.in.recent.bytesPerSecond(now) ?? 0, out: lines?.out.recent.bytesPerSecond(now) ?? 0 };
  }

  #pay(lane: Lane, direction: Direction, bytes: number, go: () => void): (() => void) | null {
    const now = this.#parts.clock.now();
    this.#refresh();
    if (lane.generation !== this.#generation || Math.abs(now - lane.lookedMs) >= lookAgainMs) this.#look(lane, now);
    if (lane.lines === null) return null;
    lane.lines[direction].recent.add(bytes, now);
    return lane.lines.tolls[direction].pay(bytes, go);
  }

  #look(lane: Lane, now: number): void {
    const { timeZone } = this.#parts;
    const rule = chooseRule(this.#rules, { address: lane.address, user: lane.user, seconds: nowSeconds(this.#parts.clock), timeZone });
    this.#leave(lane);
    lane.generation = this.#generation;
    lane.lookedMs = now;
    if (rule === null) return;
    const lines = this.#linesOf(rule.record);
    const peer = `${lane.user ?? ''} ${lane.address}`;
    lane.lines = { ...lines, peer, tolls: { in: lines.in.join(peer), out: lines.out.join(peer) } };
  }

  #leave(lane: Lane): void {
    if (lane.lines === null) return;
    const { peer } = lane.lines;
    lane.lines.in.leave(peer);
    lane.lines.out.leave(peer);
    lane.lines = null;
  }

  #linesOf(rule: TrafficRule): RuleLines {
    let lines = this.#lines.get(rule.name);
    if (lines === undefined) {
      // Whoever waits asks again, so that a rule changed in the file by another program reaches him, too.
      const line = (direction: Direction): RuleLine =>
        new RuleLine(rateOf(rule, direction), () => {
          this.#refresh();
          return rateOf(this.#rules.find(({ record }) => record.name === rule.name)?.record, direction);
        });
      lines = { in: line('in'), out: line('out') };
      this.#lines.set(rule.name, lines);
    }
    return lines;
  }

  #refresh(): void {
    const now = this.#parts.clock.now();
    if (Math.abs(now - this.#checkedMs) < lookAgainMs) return;
    this.#checkedMs = now;
    try {
      const { records, digest } = this.#parts.table.list();
      if (digest === this.#digest) return;
      this.#rules = records.map(prepareRule);
      this.#digest = digest;
    } catch (e) {
      // An unreadable file must not lift the limits.
      this.#parts.log.error(`traffic control: the rules that were read last go on, the present ones cannot be read: ${errorChain(e)}`);
      return;
    }
    this.#generation += 1;
    const byName = new Map(this.#rules.map(({ record }) => [record.name, record]));
    for (const [name, lines] of this.#lines) {
      const rule = byName.get(name);
      if (rule === undefined) this.#lines.delete(name);
      for (const direction of ['in', 'out'] as const) lines[direction].bucket.retune(rateOf(rule, direction));
    }
  }
}
