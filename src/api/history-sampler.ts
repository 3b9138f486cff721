import { readFile, statfs } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { pause } from '../base/async.ts';
import { BackgroundLoop } from '../base/background-loop.ts';
import { nowSeconds, type Clock } from '../base/clock.ts';
import { errorChain, FarshoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { datastoreUsage } from '../datastore/snapshot-info.ts';
import type { History } from '../metrics/history.ts';
import { CpuMeter, parseCpuTimes, parseMemory } from '../sys/host-status.ts';
import type { Datastores } from './datastores.ts';
import { datastoreSeries, hostSeries } from './rrd-points.ts';

export interface HistorySamplerParts {
  datastores: Datastores;
  history: History;
  clock: Clock;
  log: ProgressLog;
}

const intervalMs = 60_000;

/** Notes load and space once a minute, in the reference's fields (spec rest-api 10.1, rrd). */
export class HistorySampler {
  readonly #parts: HistorySamplerParts;
  readonly #cpu = new CpuMeter();
  /** Datastores whose file system has not answered yet: it may hang, and must hold up nothing else. */
  readonly #waiting = new Set<string>();
  readonly #loop = new BackgroundLoop();

  constructor(parts: HistorySamplerParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#loop.start((signal) => this.#run(signal));
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // Not waited for: a file system that hangs must not hold up the end of the server.
      void this.sample().catch((e: unknown) => this.#parts.log.error(`no sample for the histories: ${errorChain(e)}`));
      await pause(intervalMs, signal).catch(() => {});
    }
  }

  /** Resolves when everything that answers has answered. */
  async sample(): Promise<void> {
    const { datastores, history, clock } = this.#parts;
    const at = nowSeconds(clock);
    const records = datastores.records();
    history.record(hostSeries, at, await this.#host());
    await Promise.all(records.map(({ name }) => this.#datastore(name, at)));
  }

  async #datastore(name: string, at: number): Promise<void> {
    if (this.#waiting.has(name)) return;
    this.#waiting.add(name);
    try {
      const { total, used, avail } = await this.#parts.datastores.use(name, 'lookup', (store) => datastoreUsage(store));
      this.#parts.history.record(datastoreSeries(name), at, { total, used, available: avail });
    } catch (e) {
      // One that is away has a gap in its curve; that it is away is said where it is used.
      if (!(e instanceof FarshoreError)) throw e;
    } finally {
      this.#waiting.delete(name);
    }
  }

  async #host(): Promise<Record<string, number>> {
    const [procStat, meminfo, root] = await Promise.all([readFile('/proc/stat', 'latin1'), readFile('/proc/meminfo', 'latin1'), statfs('/')]);
    const { cpu, wait } = this.#cpu.shares(parseCpuTimes(procStat), performance.now());
    const { memory, swap } = parseMemory(meminfo);
    return {
      cpu,
      iowait: wait,
      loadavg: loadavg()[0] ?? 0,
      memtotal: memory.total,
      memused: memory.used,
      swaptotal: swap.total,
      swapused: swap.used,
      total: root.blocks * root.bsize,
      used: (root.blocks - root.bfree) * root.bsize,
    };
  }
}
