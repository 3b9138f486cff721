import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { asBuffer, bytesEqual, digestLength, type Digest } from '../base/bytes.ts';
import { errorCode, toError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { snapshotText, type BackupSnapshot } from '../format/backup-path.ts';

const flushDelayMs = 100;
const maxWaiting = 512;
/** A killed process loses the entries not yet written: their chunks are fetched again. */
const maxWaitingBytes = 8 * 1024 * 1024;
/** Bytes that name a way of changing chunks. */
export const recoderLength = 16;

const schema = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS delivered (digest BLOB PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS unflushed (digest BLOB PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS recoded (source BLOB PRIMARY KEY, target BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS arrival (
    path TEXT PRIMARY KEY,
    listing BLOB NOT NULL,
    verification TEXT
  ) WITHOUT ROWID;
`;

export interface JournalOptions {
  path: string;
  /** Who delivers, e.g. host, port and user of a remote: another identity starts an empty journal. Null: as the file says. */
  identity: string | null;
  /** Changes with every boot of this host: chunks that were not flushed before a power loss are forgotten. */
  bootId: string;
  log: ProgressLog;
}

export interface Arrival {
  /** Fingerprint of the source's listing when the snapshot arrived or was last compared. */
  listing: Buffer;
  /** UPID of the verification that the source's manifest carried: it says nothing of this copy. */
  verification: string | null;
}

/**
 * What one remote has delivered into one datastore: the proof that a chunk in the target may be used for a snapshot of this
 * remote without fetching it again (design 1, "Reuse and safety"). An entry is made only after the chunk was received from that
 * remote, checked, and stored. The journal never says that a chunk still *exists*: the caller looks.
 *
 * Losing the journal costs traffic, never data: when it fails in the middle of a job, the job warns once and goes on without it, and a
 * damaged file is set aside at the next opening. After a killed process the entries hold (the page cache does too); after a power
 * loss those not yet flushed are dropped.
 */
export class PossessionJournal {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #log: ProgressLog;
  readonly #has: StatementSync;
  readonly #add: StatementSync;
  readonly #addUnflushed: StatementSync;
  readonly #recoded: StatementSync;
  readonly #addRecoded: StatementSync;
  #waiting = new Map<string, Digest>();
  #waitingRecoded = new Map<string, { source: Buffer; target: Digest }>();
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #epoch = 1;
  #broken = false;

  private constructor(options: JournalOptions, database: DatabaseSync) {
    this.#path = options.path;
    this.#database = database;
    this.#log = options.log;
    this.#has = database.prepare('SELECT 1 FROM delivered WHERE digest = ?');
    this.#add = database.prepare('INSERT OR IGNORE INTO delivered (digest) VALUES (?)');
    this.#addUnflushed = database.prepare('INSERT OR REPLACE INTO unflushed (digest, epoch) VALUES (?, ?)');
    this.#recoded = database.prepare('SELECT target FROM recoded WHERE source = ?');
    this.#addRecoded = database.prepare('INSERT OR REPLACE INTO recoded (source, target) VALUES (?, ?)');
  }

  /** Opens or creates; a file that is no database, or was found damaged, is set aside first. */
  static open(options: JournalOptions): PossessionJournal {
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o750 });
    if (existsSync(suspectPath(options.path))) setAside(options);
    try {
      return new PossessionJournal(options, openDatabase(options));
    } catch (e) {
      if (errorCode(e) !== 'ERR_SQLITE_ERROR') throw e;
      setAside(options);
      return new PossessionJournal(options, openDatabase(options));
    }
  }

  /** This remote once delivered the chunk. */
  has(digest: Digest): boolean {
    if (this.#waiting.has(key(digest))) return true;
    return this.#guarded(() => this.#has.get(digest) !== undefined, false);
  }

  /** The chunk of `bytes` encoded bytes was received from this remote, checked and stored. Written within 100 ms, or when such chunks have 8 MiB. */
  add(digest: Digest, bytes = 0): void {
    if (this.#broken) return;
    this.#waiting.set(key(digest), Buffer.from(digest));
    this.#writeSoon(bytes);
  }

  /**
   * What became of a chunk of this remote that was decrypted or encrypted on its way: the digest under which it was stored. `recoder` (16 bytes) says how it was
   * changed. It is no proof that the remote holds the *changed* content: `has` knows nothing of it.
   */
  recoded(recoder: Uint8Array, digest: Digest): Digest | null {
    const source = recodedKey(recoder, digest);
    const waiting = this.#waitingRecoded.get(key(source));
    if (waiting !== undefined) return waiting.target;
    const target = this.#guarded(() => this.#recoded.get(source), undefined)?.['target'];
    return target instanceof Uint8Array && target.byteLength === digestLength ? asBuffer(target) : null;
  }

  /** As `add`, for a chunk that was stored under another digest. */
  addRecoded(recoder: Uint8Array, digest: Digest, target: Digest, bytes = 0): void {
    if (this.#broken) return;
    const source = recodedKey(recoder, digest);
    this.#waitingRecoded.set(key(source), { source, target: Buffer.from(target) });
    this.#writeSoon(bytes);
  }

  #writeSoon(bytes: number): void {
    this.#waitingBytes += bytes;
    if (this.#waitingBytes >= maxWaitingBytes || this.#waiting.size + this.#waitingRecoded.size >= maxWaiting) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), flushDelayMs).unref();
  }

  /** Call before the datastore's flush. After it succeeded give the result to `flushed`: what was added until now then survives a power loss. */
  beginFlush(): number {
    this.#write();
    this.#epoch += 1;
    return this.#epoch - 1;
  }

  flushed(epoch: number): void {
    this.#guarded(() => this.#database.prepare('DELETE FROM unflushed WHERE epoch <= ?').run(epoch), null);
  }

  arrival(namespace: string, snapshot: BackupSnapshot): Arrival | null {
    const row = this.#guarded(() => this.#database.prepare('SELECT listing, verification FROM arrival WHERE path = ?').get(arrivalPath(namespace, snapshot)), undefined);
    if (row === undefined || !(row['listing'] instanceof Uint8Array)) return null;
    const verification = row['verification'];
    return { listing: asBuffer(row['listing']), verification: typeof verification === 'string' ? verification : null };
  }

  /** True when the source's listing of this snapshot is the one that was recorded. */
  isUnchanged(namespace: string, snapshot: BackupSnapshot, listing: Uint8Array): boolean {
    const arrival = this.arrival(namespace, snapshot);
    return arrival !== null && bytesEqual(arrival.listing, listing);
  }

  recordArrival(namespace: string, snapshot: BackupSnapshot, arrival: { listing: Uint8Array; verification: string | null }): void {
    this.#guarded(
      () =>
        this.#database
          .prepare('INSERT OR REPLACE INTO arrival (path, listing, verification) VALUES (?, ?, ?)')
          .run(arrivalPath(namespace, snapshot), arrival.listing, arrival.verification),
      null,
    );
  }

  forgetArrival(namespace: string, snapshot: BackupSnapshot): void {
    this.#guarded(() => this.#database.prepare('DELETE FROM arrival WHERE path = ?').run(arrivalPath(namespace, snapshot)), null);
  }

  /** Who delivers; empty when nothing has been recorded yet. */
  get identity(): string {
    const value = this.#guarded(() => this.#database.prepare('SELECT value FROM meta WHERE key = ?').get('identity'), undefined)?.['value'];
    return typeof value === 'string' ? value : '';
  }

  /** False once it failed: this job goes on without it. */
  get usable(): boolean {
    return !this.#broken;
  }

  /** Number of chunks known to have been delivered. */
  get size(): number {
    this.#write();
    return this.#guarded(() => Number(this.#database.prepare('SELECT count(*) AS n FROM delivered').get()!['n']), 0);
  }

  close(): void {
    this.#write();
    this.#database.close();
  }

  #write(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.size + this.#waitingRecoded.size === 0) return;
    this.#guarded(() => {
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        for (const digest of this.#waiting.values()) {
          this.#add.run(digest);
          this.#addUnflushed.run(digest, this.#epoch);
        }
        for (const { source, target } of this.#waitingRecoded.values()) {
          this.#addRecoded.run(source, target);
          this.#addUnflushed.run(source, this.#epoch);
        }
        failpoint('journal.writing');
        this.#database.exec('COMMIT');
      } catch (e) {
        this.#database.exec('ROLLBACK');
        throw e;
      }
    }, undefined);
    failpoint('journal.written');
    this.#waiting = new Map();
    this.#waitingBytes = 0;
    this.#waitingRecoded = new Map();
  }

  /** Runs a statement; a failing journal is given up for this job, said once, and marked for the next opening. */
  #guarded<T>(statement: () => T, otherwise: T): T {
    if (this.#broken) return otherwise;
    try {
      return statement();
    } catch (e) {
      this.#broken = true;
      this.#log.warn(`possession journal '${this.#path}' failed (${toError(e).message}): this job goes on without it and may fetch chunks again`);
      if (isDamage(e)) writeFileSync(suspectPath(this.#path), '');
      return otherwise;
    }
  }
}

const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;

function isDamage(e: unknown): boolean {
  const code = typeof e === 'object' && e !== null && 'errcode' in e ? Number(e.errcode) & 0xff : 0;
  return code === sqliteCorrupt || code === sqliteNotADatabase;
}

function suspectPath(path: string): string {
  return `${path}.suspect`;
}

function setAside(options: JournalOptions): void {
  const aside = `${options.path}.damaged-${randomBytes(4).toString('hex')}`;
  options.log.warn(`possession journal '${options.path}' is damaged and set aside as '${aside}'; chunks known from it may be fetched again`);
  for (const suffix of ['', '-wal', '-shm']) if (existsSync(options.path + suffix)) renameSync(options.path + suffix, aside + suffix);
  rmSync(suspectPath(options.path), { force: true });
}

function openDatabase(options: JournalOptions): DatabaseSync {
  const database = new DatabaseSync(options.path, { timeout: 10_000 });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384');
    database.exec(schema);
    const read = database.prepare('SELECT value FROM meta WHERE key = ?');
    const write = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
    const identity = read.get('identity')?.['value'];
    database.exec('BEGIN IMMEDIATE');
    if (options.identity !== null && identity !== options.identity) {
      if (identity !== undefined) options.log.info('the remote now leads somewhere else: nothing that it delivered before counts');
      database.exec('DELETE FROM delivered; DELETE FROM recoded; DELETE FROM unflushed; DELETE FROM arrival');
      write.run('identity', options.identity);
    }
    if (read.get('boot')?.['value'] !== options.bootId) {
      database.exec('DELETE FROM delivered WHERE digest IN (SELECT digest FROM unflushed); DELETE FROM recoded WHERE source IN (SELECT digest FROM unflushed); DELETE FROM unflushed');
      write.run('boot', options.bootId);
    }
    database.exec('COMMIT');
    return database;
  } catch (e) {
    database.close();
    throw e;
  }
}

function key(digest: Uint8Array): string {
  return asBuffer(digest).toString('latin1');
}

/** Longer than a digest, so that both may stand in one table. */
function recodedKey(recoder: Uint8Array, digest: Digest): Buffer {
  assert.equal(recoder.byteLength, recoderLength);
  return Buffer.concat([recoder, digest]);
}

function arrivalPath(namespace: string, snapshot: BackupSnapshot): string {
  return `${namespace}:${snapshotText(snapshot)}`;
}
