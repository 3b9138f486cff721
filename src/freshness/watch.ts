import { forEachLimited, inTime, Mutex, pause, throwIfAborted } from '../base/async.ts';
import { BackgroundLoop } from '../base/background-loop.ts';
import type { Clock } from '../base/clock.ts';
import { errorChain, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { formatTimeSpan, parseTimeSpan } from '../base/time-span.ts';
import type { FreshnessContract } from '../config/freshness-config.ts';
import { believedAheadSeconds, judge, type Evidence, type Judgement, type Subject } from './judgement.ts';
import { maxSubjects, type ContractMemory, type FreshnessMemory, type FreshnessMemoryFile } from './memory.ts';
import { SteadyClock, type SteadyReading } from './steady-clock.ts';

/** What somebody has to hear of. */
export interface FreshnessAlarm {
  contract: FreshnessContract;
  /** As of the check. */
  judgement: Judgement;
  /** Seconds since the epoch: when the episode began, or for how long it lasted. */
  since: number;
}

/** Where alarms go: one `raise` an episode, one `clear` when it is over. What rejects is tried again at the next check. */
export interface FreshnessAlarms {
  raise(alarm: FreshnessAlarm): Promise<void>;
  clear(alarm: FreshnessAlarm): Promise<void>;
}

/** A subject as a look at the disk finds it. */
export interface SeenSubject {
  name: string;
  /** Newest, seconds since the epoch; null: nothing there. */
  time: number | null;
  /** It happened, and stays so when its traces are gone: a run, not a snapshot. */
  past?: boolean;
}

export interface Look {
  subjects: SeenSubject[];
  notes: string[];
}

export interface FreshnessWatchOptions {
  contracts: () => FreshnessContract[];
  /** Looks at what a contract speaks of; `now` in seconds since the epoch. An error: it cannot be seen. */
  look: (contract: FreshnessContract, now: number) => Promise<Look>;
  alarms: FreshnessAlarms;
  /** Asks a heartbeat address; rejects when nobody answers well. */
  beat: (url: string, signal: AbortSignal) => Promise<void>;
  memory: FreshnessMemoryFile;
  clock: Clock;
  /** Milliseconds of a clock that nobody sets. */
  monotonicMs: () => number;
  log: ProgressLog;
  /** Between two checks. */
  intervalMs?: number;
  /** How long a look may take before it counts as one that cannot be made. */
  lookLimitMs?: number;
  /** For tests; default: a timer. */
  sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

export interface Judged {
  contract: FreshnessContract;
  judgement: Judgement;
  /** Since when the alarm stands; null when none was delivered. */
  raised: number | null;
}

interface WatchState {
  clock: SteadyClock;
  contracts: Map<string, ContractMemory>;
}

const defaultIntervalMs = 5 * 60_000;
const defaultLookLimitMs = 2 * 60_000;
/** Contracts that are looked at at the same time. */
const looksAtATime = 4;

/**
 * Watches the contracts, whatever runs or does not run: it looks at what is there, not at who should have brought it. Its own loop and its own clock, so that
 * neither a stuck scheduler nor a clock that was set hides anything.
 */
export class FreshnessWatch {
  readonly #options: FreshnessWatchOptions;
  readonly #looking = new Mutex();
  #state: WatchState | null = null;
  /** Contracts whose look has not ended: a file system that hangs must not be asked again and again. */
  readonly #hanging = new Set<string>();
  /** Heartbeat addresses that failed, so that a failure that lasts is logged once. */
  readonly #silent = new Set<string>();
  #latest: Judged[] = [];
  #checkedAtMs: number | null = null;
  readonly #loop = new BackgroundLoop();

  constructor(options: FreshnessWatchOptions) {
    this.#options = options;
  }

  /** Begins with a check at once. */
  start(): void {
    if (this.#loop.isRunning) return;
    this.#checkedAtMs = this.#options.monotonicMs();
    this.#loop.start((signal) => this.#run(signal));
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const sleep = this.#options.sleep ?? pause;
    while (!signal.aborted) {
      try {
        await this.check();
      } catch (e) {
        if (!signal.aborted) this.#options.log.error(`freshness contracts cannot be checked: ${errorChain(e)}`);
      }
      try {
        await sleep(this.#options.intervalMs ?? defaultIntervalMs, signal);
      } catch (e) {
        if (!signal.aborted) throw e;
      }
    }
  }

  /** As of the last check. */
  get latest(): readonly Judged[] {
    return this.#latest;
  }

  /** False when checks should have come and have not: one hangs, or fails again and again. Before `start` true. */
  get isAlive(): boolean {
    const { intervalMs = defaultIntervalMs, monotonicMs } = this.#options;
    return !this.#loop.isRunning || this.#checkedAtMs === null || monotonicMs() - this.#checkedAtMs <= 3 * intervalMs;
  }

  /** Looks at contracts and tells, without alarms and without remembering. */
  async judge(contracts: readonly FreshnessContract[]): Promise<Judged[]> {
    return this.#looking.run(async () => {
      const { clock, contracts: memories } = await this.#loaded();
      const reading = clock.read();
      const judged: Judged[] = [];
      await forEachLimited(contracts.entries(), looksAtATime, async ([i, contract]) => {
        judged[i] = (await this.#judgeOne(contract, memories.get(contract.id), reading)).judged;
      });
      return judged;
    });
  }

  /** One check of all contracts: alarms, heartbeats, and what is remembered of it. */
  async check(): Promise<Judged[]> {
    return this.#looking.run(async () => {
      const state = await this.#loaded();
      const reading = state.clock.read();
      const judged: Judged[] = [];
      const contracts = this.#options.contracts();
      await forEachLimited(contracts.entries(), looksAtATime, async ([i, contract]) => {
        const one = await this.#judgeOne(contract, state.contracts.get(contract.id), reading);
        const raised = await this.#tell(one.judged, reading.now);
        state.contracts.set(contract.id, { ...one.memory, raised });
        judged[i] = { ...one.judged, raised };
      });
      const known = new Set(contracts.map(({ id }) => id));
      for (const id of state.contracts.keys()) if (!known.has(id)) state.contracts.delete(id);
      await this.#options.memory.store({ floorMs: state.clock.floorMs, contracts: state.contracts });
      this.#latest = judged;
      this.#checkedAtMs = this.#options.monotonicMs();
      await Promise.all(judged.map((one) => this.#beat(one)));
      return judged;
    });
  }

  async #loaded(): Promise<WatchState> {
    if (this.#state !== null) return this.#state;
    const { clock, monotonicMs, memory } = this.#options;
    const loaded: FreshnessMemory = await memory.load();
    this.#state = { clock: new SteadyClock(clock, monotonicMs, loaded.floorMs), contracts: new Map(loaded.contracts) };
    return this.#state;
  }

  async #judgeOne(contract: FreshnessContract, remembered: ContractMemory | undefined, { now, behind }: SteadyReading): Promise<{ judged: Judged; memory: ContractMemory }> {
    const isSame = remembered?.since === contract.since;
    const raised = remembered?.raised ?? null;
    const before = isSame ? remembered.subjects : new Map<string, number>();
    const { evidence, subjects } = await this.#evidence(contract, before, now);
    if (behind > 0) evidence.notes.push(`the clock was set back by ${formatTimeSpan(behind)}: the time before counts on until it has stayed so for a day`);
    const judgement = judge({ maxAge: parseTimeSpan(contract['max-age']), since: contract.since }, evidence, now);
    return { judged: { contract, judgement, raised }, memory: { since: contract.since, raised, subjects } };
  }

  async #look(contract: FreshnessContract, now: number): Promise<Look> {
    const { id } = contract;
    if (this.#hanging.has(id)) throw new StoreError('store.timeout', 'the datastore has not answered since an earlier check');
    this.#hanging.add(id);
    const look = this.#options.look(contract, now).finally(() => this.#hanging.delete(id));
    const limitMs = this.#options.lookLimitMs ?? defaultLookLimitMs;
    return inTime(look, limitMs, () => new StoreError('store.timeout', `the datastore did not answer within ${formatTimeSpan(limitMs / 1000)}`), this.#loop.signal ?? undefined);
  }

  async #evidence(contract: FreshnessContract, before: ReadonlyMap<string, number>, now: number): Promise<{ evidence: Evidence; subjects: Map<string, number> }> {
    let look: Look;
    try {
      look = await this.#look(contract, now);
    } catch (e) {
      // The end of the server says nothing of the datastore.
      throwIfAborted(this.#loop.signal ?? undefined);
      const subjects = [...before].map(([name, time]): Subject => ({ name, time, seen: true }));
      return { evidence: { subjects, problem: errorChain(e), notes: [] }, subjects: new Map(before) };
    }
    // It was believed once, so it is our clock that has gone back, and what it says now of any age is worth nothing.
    const impossible = new Set([...before].filter(([, time]) => time > now + believedAheadSeconds).map(([name]) => name));
    const subjects = look.subjects.map(({ name, time, past }): Subject => {
      const known = before.get(name);
      if (impossible.has(name)) return { name, time: null, seen: true };
      return { name, time: past === true && known !== undefined ? Math.max(known, time ?? 0) : time, seen: known !== undefined };
    });
    const found = new Set(subjects.map(({ name }) => name));
    for (const name of before.keys()) if (!found.has(name)) subjects.push({ name, time: null, seen: true });
    const after = new Map(before);
    for (const { name, time } of subjects) if (time !== null) after.set(name, Math.max(time, after.get(name) ?? 0));
    const problem = after.size > maxSubjects ? `more than ${maxSubjects} groups: make contracts for parts of it` : null;
    const notes = impossible.size === 0 ? look.notes : [...look.notes, 'what was seen before now lies in the future: the clock was set back; if it is right now, set the contract again'];
    return { evidence: { subjects, problem, notes: [...notes] }, subjects: after.size > maxSubjects ? new Map(before) : after };
  }

  /** Since when an alarm stands after this judgement. */
  async #tell({ contract, judgement, raised }: Judged, now: number): Promise<number | null> {
    const { alarms, log } = this.#options;
    const isBad = contract.disable !== true && judgement.state === 'stale';
    // What cannot be seen has not recovered.
    if (isBad === (raised !== null) || (judgement.state === 'unknown' && contract.disable !== true)) return raised;
    try {
      if (isBad) await alarms.raise({ contract, judgement, since: now });
      else if (contract.disable !== true) await alarms.clear({ contract, judgement, since: raised ?? now });
      return isBad ? now : null;
    } catch (e) {
      log.error(`freshness contract '${contract.id}': the ${isBad ? 'alarm' : 'recovery'} could not be told, it is tried again: ${errorChain(e)}`);
      return raised;
    }
  }

  async #beat({ contract, judgement }: Judged): Promise<void> {
    const { heartbeat, id } = contract;
    if (heartbeat === undefined || contract.disable === true || (judgement.state !== 'ok' && judgement.state !== 'pending')) return;
    try {
      await this.#options.beat(heartbeat, this.#loop.signal ?? new AbortController().signal);
      this.#silent.delete(id);
    } catch (e) {
      if (!this.#silent.has(id)) this.#options.log.warn(`freshness contract '${id}': the heartbeat address does not answer: ${errorChain(e)}`);
      this.#silent.add(id);
    }
  }
}
