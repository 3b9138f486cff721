import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync, type BigIntStats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ConfigError, errorCode } from '../base/errors.ts';
import { replaceFile, type FileRights } from './atomic-file.ts';
import { withFileLock } from './file-lock.ts';

/** Reads and writes the content of one configuration file. `parse` gets the empty text when the file is missing. */
export interface Codec<T> {
  parse(text: string, fileName: string): T;
  serialize(value: T): string;
  /** A copy that a change can be tried on. */
  clone(value: T): T;
}

export interface ConfigFilePlace {
  path: string;
  /** Taken exclusively around every change; shared with the reference. */
  lock: string;
  rights: FileRights;
  /** Rights of the lock file. */
  lockRights: FileRights;
}

export interface Loaded<T> {
  /** Shared with the cache: read only. */
  readonly value: T;
  /** SHA-256 of the file's bytes in hex; of nothing when it is missing (spec rest-api 8). */
  readonly digest: string;
}

const maxLockWaitMs = 10_000;

/** One configuration file: cached reading, changes under its lock. */
export class ConfigFile<T> {
  readonly path: string;
  readonly #place: ConfigFilePlace;
  readonly #codec: Codec<T>;
  #cached: (Loaded<T> & { identity: string }) | null = null;

  constructor(place: ConfigFilePlace, codec: Codec<T>) {
    this.path = place.path;
    this.#place = place;
    this.#codec = codec;
  }

  /**
   * The file's content now. It is read again only when size, inode, mtime or ctime changed, so a call costs one `stat`. Synchronous: the
   * files are small and local, and a permission check must not give way in its middle. ConfigError when it cannot be parsed.
   */
  load(): Loaded<T> {
    const identity = identityOf(this.path);
    if (this.#cached?.identity === identity) return this.#cached;
    return this.#read();
  }

  #read(): Loaded<T> {
    // The identity is taken before the content: a change in between makes the next load read again.
    const identity = identityOf(this.path);
    const bytes = readOrEmpty(this.path);
    const text = decodeConfigText(bytes, this.path);
    const loaded = { value: this.#codec.parse(text, this.path), digest: createHash('sha256').update(bytes).digest('hex'), identity };
    this.#cached = loaded;
    return loaded;
  }

  /**
   * Changes the file under its lock: `change` gets a copy of the current content, may alter it in place, and what it
   * returns is returned. The file is replaced atomically, or left alone when the text stays the same.
   * ConfigError `config.modified` when `digest` is given and is not the file's, `config.lock` when the lock is not had in 10 s.
   * An error thrown by `change` leaves the file as it was.
   */
  async update<R>(change: (value: T) => R | Promise<R>, options: { digest?: string | undefined } = {}): Promise<R> {
    return this.withLock(async () => this.updateLocked(change, options));
  }

  /** The same for a caller that holds the lock already (by `withLock`). */
  async updateLocked<R>(change: (value: T) => R | Promise<R>, options: { digest?: string | undefined } = {}): Promise<R> {
    // Read afresh: a coarse clock of the file system must not hide a change by another process.
    const before = this.#read();
    if (options.digest !== undefined && options.digest !== before.digest) throw modifiedError();
    const value = this.#codec.clone(before.value);
    const result = await change(value);
    const text = this.#codec.serialize(value);
    // Pair of the check when reading: what we write must be readable, or the server locks itself out.
    this.#codec.parse(text, this.path);
    const bytes = Buffer.from(text, 'utf8');
    if (createHash('sha256').update(bytes).digest('hex') !== before.digest) {
      await replaceFile(this.path, bytes, this.#place.rights);
      this.#cached = null;
    }
    return result;
  }

  /** Runs `work` while the file's lock is held, for steps that span more than one change. */
  async withLock<R>(work: () => Promise<R>): Promise<R> {
    return withFileLock(this.#place.lock, { timeoutMs: maxLockWaitMs, rights: this.#place.lockRights }, work);
  }
}

function modifiedError(): ConfigError {
  return new ConfigError('config.modified', 'detected modified configuration - file changed by other user? Try again.');
}

function identityOf(path: string): string {
  let stats: BigIntStats | undefined;
  try {
    stats = statSync(path, { bigint: true });
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw new ConfigError('config.read', `unable to read "${path}"`, { cause: e });
  }
  return stats === undefined ? 'missing' : `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}

function readOrEmpty(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return new Uint8Array(0);
    throw new ConfigError('config.read', `unable to read "${path}"`, { cause: e });
  }
}

const maxFileLength = 16 * 1024 * 1024;

/** Text of a configuration file; ConfigError when it is not UTF-8 or longer than 16 MiB. */
export function decodeConfigText(bytes: Uint8Array, fileName: string): string {
  if (bytes.byteLength > maxFileLength) throw new ConfigError('config.syntax', `parsing "${fileName}" failed: file is longer than ${maxFileLength} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (e) {
    throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not valid UTF-8`, { cause: e });
  }
}

/** The lock file of `x.cfg` is `.x.lck` (spec rest-api 9). */
export function lockOf(path: string): string {
  const name = basename(path);
  assert.ok(name.endsWith('.cfg'), 'only .cfg files have a .lck file');
  return join(dirname(path), `.${name.slice(0, -4)}.lck`);
}
