import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { replaceFile } from '../config/atomic-file.ts';
import { recordProblem } from '../config/schema-check.ts';
import { edgeSchema, maxEdges, type ReplicationEdge } from './loops.ts';

/** Runs that are remembered: two months of a nightly job. */
const maxRuns = 64;

const runSchema = Type.Object({
  /** Seconds since the epoch. */
  start: Type.Integer({ minimum: 0 }),
  seconds: Type.Number({ minimum: 0 }),
  /** Encoded bytes of chunks that crossed the line. */
  bytes: Type.Integer({ minimum: 0 }),
  /** It reached its end, and without errors. */
  ok: Type.Boolean(),
  /** Chunks that crossed the line. */
  chunks: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Chunks that were there already. */
  reused: Type.Optional(Type.Integer({ minimum: 0 })),
  'failed-groups': Type.Optional(Type.Integer({ minimum: 0 })),
});
export type RememberedRun = Static<typeof runSchema>;

const totalsSchema = Type.Object({
  bytes: Type.Integer({ minimum: 0 }),
  chunks: Type.Integer({ minimum: 0 }),
  reused: Type.Integer({ minimum: 0 }),
  /** Start of the last run that was ok, seconds since the epoch; 0: none was. */
  'last-success': Type.Integer({ minimum: 0 }),
});
/** Over all runs since the job was made, also those that are forgotten. */
export type JobTotals = Static<typeof totalsSchema>;
const noTotals: JobTotals = { bytes: 0, chunks: 0, reused: 0, 'last-success': 0 };

export interface JobMemory {
  /** Oldest first. */
  runs: readonly RememberedRun[];
  totals: JobTotals;
  /** Installation at the other end, and the remote by which it was reached. */
  peer: { remote: string; instanceId: string } | null;
  /** What the other end said flows into it, or out of it if the job pushes there. */
  upstream: readonly ReplicationEdge[];
}

const nothing: JobMemory = { runs: [], totals: noTotals, peer: null, upstream: [] };

/**
 * What is remembered of each sync job beside its state: bytes and seconds of its last runs, and where its remote gets its data from, or passes it on to. One file a job;
 * whoever writes holds the job's lock. Losing one costs a forecast, and the notice of a loop until the next run.
 */
export class JobMemories {
  readonly #folder: string;
  readonly #owner: { uid: number; gid: number } | null;
  readonly #log: ProgressLog;

  /** `folder`: exists already. */
  constructor(folder: string, owner: { uid: number; gid: number } | null, log: ProgressLog) {
    this.#folder = folder;
    this.#owner = owner;
    this.#log = log;
  }

  async load(id: string): Promise<JobMemory> {
    let text: string;
    try {
      text = await readFile(this.#path(id), 'utf8');
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return nothing;
      throw e;
    }
    const memory = parse(text);
    if (memory === null) this.#log.warn(`"${this.#path(id)}" is damaged: what was remembered of sync job '${id}' is lost`);
    return memory ?? nothing;
  }

  async rememberRun(id: string, run: RememberedRun): Promise<void> {
    const before = await this.load(id);
    await this.#store(id, { ...before, runs: [...before.runs, run].slice(-maxRuns), totals: withRun(before.totals, run) });
  }

  async rememberPeer(id: string, peer: JobMemory['peer'], upstream: readonly ReplicationEdge[]): Promise<void> {
    const before = await this.load(id);
    if (JSON.stringify([before.peer, before.upstream]) === JSON.stringify([peer, upstream])) return;
    await this.#store(id, { ...before, peer, upstream });
  }

  async forget(id: string): Promise<void> {
    await rm(this.#path(id), { force: true });
  }

  async #store(id: string, memory: JobMemory): Promise<void> {
    await replaceFile(this.#path(id), Buffer.from(`${JSON.stringify(memory)}\n`), { mode: 0o644, owner: this.#owner });
  }

  #path(id: string): string {
    return join(this.#folder, `sync-memory-${id}.json`);
  }
}

function withRun(totals: JobTotals, run: RememberedRun): JobTotals {
  return {
    bytes: totals.bytes + run.bytes,
    chunks: totals.chunks + (run.chunks ?? 0),
    reused: totals.reused + (run.reused ?? 0),
    'last-success': run.ok ? Math.max(totals['last-success'], run.start) : totals['last-success'],
  };
}

function parse(text: string): JobMemory | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(json)) return null;
  const { runs, peer, upstream } = json;
  if (!Array.isArray(runs) || runs.some((run: unknown) => !isRecord(run) || recordProblem(runSchema, run) !== null)) return null;
  if (!Array.isArray(upstream) || upstream.length > maxEdges || upstream.some((edge: unknown) => !isRecord(edge) || recordProblem(edgeSchema, edge) !== null)) return null;
  if (peer !== null && (!isRecord(peer) || typeof peer['remote'] !== 'string' || typeof peer['instanceId'] !== 'string')) return null;
  const { totals } = json;
  if (totals !== undefined && (!isRecord(totals) || recordProblem(totalsSchema, totals) !== null)) return null;
  // Written by a version that kept none: what is still remembered is a beginning.
  const counted = totals ?? (runs as RememberedRun[]).reduce(withRun, noTotals);
  return { ...json, totals: counted } as unknown as JobMemory;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
