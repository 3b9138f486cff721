import { readFile } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { replaceFile } from '../config/atomic-file.ts';

/** Groups that one contract watches. */
export const maxSubjects = 4096;
const maxFileLength = 64 * 1024 * 1024;

/** What is remembered of one contract between two looks. */
export interface ContractMemory {
  /** `since` of the contract that this was learnt for: one that is set anew starts anew. Seconds since the epoch, like all times here. */
  since: number;
  /** Since when the alarm stands that was delivered; null: none stands. */
  raised: number | null;
  /** Newest time that was ever seen, by subject. */
  subjects: ReadonlyMap<string, number>;
}

export interface FreshnessMemory {
  /** Latest time that is known to have passed (see SteadyClock), milliseconds since the epoch. */
  floorMs: number;
  contracts: ReadonlyMap<string, ContractMemory>;
}

/** The file `freshness.json` in the state folder. Losing it costs a second alert of an episode, and the memory of groups that vanished. */
export class FreshnessMemoryFile {
  readonly #path: string;
  readonly #owner: { uid: number; gid: number } | null;
  readonly #log: ProgressLog;

  constructor(path: string, owner: { uid: number; gid: number } | null, log: ProgressLog) {
    this.#path = path;
    this.#owner = owner;
    this.#log = log;
  }

  async load(): Promise<FreshnessMemory> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return { floorMs: 0, contracts: new Map() };
      throw e;
    }
    const memory = text.length > maxFileLength ? null : parse(text);
    if (memory === null) this.#log.warn(`"${this.#path}" is damaged: what was remembered of freshness contracts is lost, and alerts that stand are sent again`);
    return memory ?? { floorMs: 0, contracts: new Map() };
  }

  async store(memory: FreshnessMemory): Promise<void> {
    const contracts = [...memory.contracts].map(([id, { since, raised, subjects }]) => [id, { since, raised, subjects: [...subjects] }] as const);
    await replaceFile(this.#path, Buffer.from(`${JSON.stringify({ 'floor-ms': memory.floorMs, contracts })}\n`), { mode: 0o600, owner: this.#owner });
  }
}

function parse(text: string): FreshnessMemory | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(json) || !isTime(json['floor-ms']) || !Array.isArray(json['contracts'])) return null;
  const contracts = new Map<string, ContractMemory>();
  for (const entry of json['contracts'] as unknown[]) {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !isRecord(entry[1])) return null;
    const { since, raised, subjects } = entry[1];
    if (!isTime(since) || (raised !== null && !isTime(raised)) || !Array.isArray(subjects) || subjects.length > maxSubjects) return null;
    if (subjects.some((one: unknown) => !Array.isArray(one) || typeof one[0] !== 'string' || !isTime(one[1]))) return null;
    contracts.set(entry[0], { since, raised, subjects: new Map(subjects as Array<[string, number]>) });
  }
  return { floorMs: json['floor-ms'], contracts };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
