import { existsSync, renameSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { errorChain, errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { keptSteps, maxPoints, timeframes, type Timeframe } from './timeframes.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS sample (
    series TEXT NOT NULL,
    field TEXT NOT NULL,
    step INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    sum REAL NOT NULL,
    count INTEGER NOT NULL,
    max REAL NOT NULL,
    PRIMARY KEY (series, step, slot, field)
  ) WITHOUT ROWID;
`;

/** A sample further ahead of the clock than this comes from a time when the clock was wrong. */
const aheadSeconds = 86_400;

export type Consolidation = 'AVERAGE' | 'MAX';

/** One point of a history: its time, and the values that were recorded. */
export type Point = { time: number } & Record<string, number>;

/**
 * Numbers over time for the histories of the API, in SQLite: each is kept at four steps, and there as sum, count and maximum, so that the file does not grow beyond its series.
 * Losing it costs curves. When it fails in the middle, that is said once and nothing more is kept until the next start.
 */
export class History {
  readonly #path: string;
  readonly #log: ProgressLog;
  #database: DatabaseSync | null = null;
  #broken = false;
  #prunedAt = 0;

  /** Opened when it is first used. */
  constructor(path: string, log: ProgressLog) {
    this.#path = path;
    this.#log = log;
  }

  /** `at`: seconds since the epoch. Values that are no finite numbers are left out. */
  record(series: string, at: number, values: Readonly<Record<string, number>>): void {
    this.#guarded(undefined, (database) => {
      const put = database.prepare(
        'INSERT INTO sample (series, field, step, slot, sum, count, max) VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (series, step, slot, field) DO UPDATE SET sum = sum + excluded.sum, count = count + 1, max = max(max, excluded.max)',
      );
      database.exec('BEGIN');
      try {
        for (const [field, value] of Object.entries(values)) {
          if (!Number.isFinite(value)) continue;
          for (const { step } of keptSteps) put.run(series, field, step, Math.floor(at / step), value, value);
        }
        if (at - this.#prunedAt >= 3600 || at < this.#prunedAt) this.#prune(database, at);
        database.exec('COMMIT');
      } catch (e) {
        database.exec('ROLLBACK');
        throw e;
      }
    });
  }

  /** The points of a history up to `now`, oldest first, also those without values. */
  points(series: string, timeframe: Timeframe, consolidation: Consolidation, now: number): Point[] {
    const { span, step } = timeframes[timeframe];
    const count = Math.min(maxPoints, Math.floor(span / step) + 1);
    const first = Math.floor(now / step) - count + 1;
    const points = Array.from({ length: count }, (_, i): Point => ({ time: (first + i) * step }));
    const rows = this.#guarded([], (database) =>
      database.prepare('SELECT field, slot, sum, count, max FROM sample WHERE series = ? AND step = ? AND slot >= ? AND slot < ?').all(series, step, first, first + count),
    );
    for (const row of rows) {
      const point = points[Number(row['slot']) - first];
      if (point !== undefined) point[String(row['field'])] = consolidation === 'MAX' ? Number(row['max']) : Number(row['sum']) / Number(row['count']);
    }
    return points;
  }

  close(): void {
    this.#database?.close();
    this.#database = null;
    this.#broken = true;
  }

  #prune(database: DatabaseSync, at: number): void {
    for (const { step, span } of keptSteps) {
      database.prepare('DELETE FROM sample WHERE step = ? AND (slot < ? OR slot > ?)').run(step, Math.floor((at - span) / step), Math.floor((at + aheadSeconds) / step));
    }
    this.#prunedAt = at;
  }

  #guarded<T>(otherwise: T, work: (database: DatabaseSync) => T): T {
    if (this.#broken) return otherwise;
    try {
      this.#database ??= this.#open();
      return work(this.#database);
    } catch (e) {
      this.#broken = true;
      this.#log.warn(`the history "${this.#path}" cannot be used, no curves until the next start: ${errorChain(e)}`);
      return otherwise;
    }
  }

  #open(): DatabaseSync {
    try {
      return openDatabase(this.#path);
    } catch (e) {
      if (errorCode(e) !== 'ERR_SQLITE_ERROR' || !existsSync(this.#path)) throw e;
      this.#log.warn(`the history "${this.#path}" is damaged and is set aside: ${errorChain(e)}`);
      for (const suffix of ['-wal', '-shm']) rmSync(`${this.#path}${suffix}`, { force: true });
      renameSync(this.#path, `${this.#path}.damaged`);
      return openDatabase(this.#path);
    }
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5000 });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    database.exec(schema);
  } catch (e) {
    database.close();
    throw e;
  }
  return database;
}
