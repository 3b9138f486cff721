import { readFile, stat } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';

/** Load, memory and hardware of this host, from /proc and /sys. The parsers take the files' text. */

/** Clock ticks since boot, summed over all processors. */
export interface CpuTimes {
  total: number;
  /** Neither idle nor waiting. */
  busy: number;
  /** Idle while input or output was under way. */
  wait: number;
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal (guest times are part of user). */
export function parseCpuTimes(procStat: string): CpuTimes {
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(procStat)?.[1] ?? '').split(' ').map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  return { total: busy + idle + wait, busy, wait };
}

/** Bytes. */
export interface MemoryUse {
  total: number;
  used: number;
  free: number;
}

/** Memory and swap by /proc/meminfo. What caches hold and would give back counts neither as used nor as free. */
export function parseMemory(meminfo: string): { memory: MemoryUse; swap: MemoryUse } {
  const values = new Map([...meminfo.matchAll(/^(\w+): +(\d+) kB$/gm)].map((match) => [match[1]!, Number(match[2]) * 1024]));
  const of = (name: string): number => values.get(name) ?? 0;
  const total = of('MemTotal');
  const free = of('MemFree');
  const swapTotal = of('SwapTotal');
  return {
    memory: { total, used: total - (values.get('MemAvailable') ?? free), free },
    swap: { total: swapTotal, used: swapTotal - of('SwapFree'), free: of('SwapFree') },
  };
}

export interface CpuInfo {
  cpus: number;
  model: string;
  sockets: number;
}

/** By /proc/cpuinfo; an architecture that names neither model nor socket has one socket of model `unknown`. */
export function parseCpuInfo(cpuinfo: string): CpuInfo {
  const all = (name: string): string[] => [...cpuinfo.matchAll(new RegExp(`^${name}\\s*: *(.*)$`, 'gm'))].map((match) => match[1]!.trim());
  return { cpus: all('processor').length, model: all('model name')[0] ?? 'unknown', sockets: Math.max(1, new Set(all('physical id')).size) };
}

/** Least time that a share is measured over, in milliseconds: a shorter one says nothing. */
const leastSpanMs = 1000;

/** Shares of processor time between calls; the first call gives those since boot. */
export class CpuMeter {
  #last: CpuTimes = { total: 0, busy: 0, wait: 0 };
  #lastMs = -Infinity;
  #shares = { cpu: 0, wait: 0 };

  /** 0 to 1 each. `nowMs`: any clock that goes forward. */
  shares(times: CpuTimes, nowMs: number): { cpu: number; wait: number } {
    const span = times.total - this.#last.total;
    if (nowMs - this.#lastMs >= leastSpanMs && span > 0) {
      this.#shares = { cpu: (times.busy - this.#last.busy) / span, wait: Math.max(0, times.wait - this.#last.wait) / span };
      this.#last = times;
      this.#lastMs = nowMs;
    }
    return this.#shares;
  }
}

export interface BootInfo {
  mode: 'efi' | 'legacy-bios';
  secureboot: boolean;
}

/** How the host was started. */
export async function readBootInfo(): Promise<BootInfo> {
  try {
    await stat('/sys/firmware/efi');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return { mode: 'legacy-bios', secureboot: false };
    throw e;
  }
  return { mode: 'efi', secureboot: await isSecureBoot() };
}

/** Four bytes of attributes, then the value (UEFI specification, global variable SecureBoot). */
async function isSecureBoot(): Promise<boolean> {
  try {
    return (await readFile('/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'))[4] === 1;
  } catch {
    // Absent, or not for us to read: nobody relies on it, the page only shows it.
    return false;
  }
}
