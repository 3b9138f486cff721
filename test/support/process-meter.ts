import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';

export interface ProcessFigures {
  /** Of the whole life of the process. */
  peakRssMiB: number;
  loopDelayP99Ms: number;
  loopDelayMaxMs: number;
  /** Of the time, how much the event loop was busy: 0 to 1. */
  loopShare: number;
  cpuSeconds: number;
}

const resolutionMs = 5;

/** The most memory that a process has had. Not `ru_maxrss`: that begins with what the parent had when it forked. */
export function peakRssMiB(pid: number | 'self'): number {
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) / 1024;
}

/** What this process needs, from here on or from the last `restart`. */
export class ProcessMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: resolutionMs });
  #cpu = process.cpuUsage();
  #loop = performance.eventLoopUtilization();

  constructor() {
    this.#delay.enable();
  }

  restart(): void {
    this.#delay.reset();
    this.#cpu = process.cpuUsage();
    this.#loop = performance.eventLoopUtilization();
  }

  figures(): ProcessFigures {
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      peakRssMiB: peakRssMiB('self'),
      loopDelayP99Ms: this.#delay.percentile(99) / 1e6,
      loopDelayMaxMs: this.#delay.max / 1e6,
      loopShare: performance.eventLoopUtilization(this.#loop).utilization,
      cpuSeconds: (user + system) / 1e6,
    };
  }

  stop(): void {
    this.#delay.disable();
  }
}
