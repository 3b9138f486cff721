import { createHash } from 'node:crypto';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorChain, errorCode, FormatError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { syncFolder } from '../config/atomic-file.ts';
import { withFileLock } from '../config/file-lock.ts';
import type { FileOwner } from '../config/home.ts';
import { makeFolders } from '../sys/make-folders.ts';
import { firstPrevious, formatAuditLine, maxAuditLine, parseAuditLine, type AuditEvent, type AuditLine } from './audit-line.ts';
import { auditFileLines } from './audit-verify.ts';

export interface AuditLogOptions {
  folder: string;
  owner: FileOwner | null;
  clock: Clock;
  /** The server's log: told when the audit log cannot be written. */
  log: Pick<ProgressLog, 'error'>;
  /** A file that is longer is followed by another one. Default 32 MiB. */
  rotateAboveBytes?: number;
  /** How long written lines may wait for the disk. Default 1000. */
  syncWithinMs?: number;
}

/** Files are named by the number of their first line, so that names in order are lines in order. */
function fileName(seq: number): string {
  return `audit-${String(seq).padStart(12, '0')}.jsonl`;
}

/** Files of the log in a folder, oldest first; none when there is no folder. */
export async function auditFiles(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => /^audit-\d{12}\.jsonl$/.test(name)).sort().map((name) => join(folder, name));
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return [];
    throw new StoreError('store.read', `cannot read ${folder}`, { cause: e });
  }
}

/** Where the chain goes on. */
interface Tail {
  path: string;
  size: number;
  seq: number;
  hash: string;
  /** What stands behind the last line, without a line feed at its end. */
  torn: Buffer | null;
  /** Whether the file ends with a line feed, or is empty. */
  endsLine: boolean;
}

/** The last good line of a file, from its end; number 0 when there is none. */
async function tailOf(path: string): Promise<Tail> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 4 * (maxAuditLine + 1));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const text = buffer.subarray(0, bytesRead);
    const endsLine = text.length === 0 || text.at(-1) === 10;
    for (let end = text.lastIndexOf(10); end >= 0; ) {
      const from = end === 0 ? -1 : text.lastIndexOf(10, end - 1);
      try {
        const { seq, hash } = parseAuditLine(text.toString('utf8', from + 1, end));
        return { path, size, seq, hash, endsLine, torn: end === text.length - 1 ? null : text.subarray(end + 1, endsLine ? text.length - 1 : text.length) };
      } catch {
        end = from;
      }
    }
    return { path, size, seq: 0, hash: firstPrevious, endsLine, torn: text.length === 0 ? null : text.subarray(0, endsLine ? text.length - 1 : text.length) };
  } finally {
    await file.close();
  }
}

/**
 * The append-only, hash-chained record of who did what. Lines are written, in order, under a lock that processes share, by one call each; they are on disk
 * within `syncWithinMs`, and at the end. A crash of the process loses no written line; one of the host may tear the last ones: the next start marks what is left
 * of a line by an event `torn` and goes on behind it. Files are never changed or removed by this program.
 */
export class AuditLog {
  readonly #options: AuditLogOptions;
  #queue: Promise<void> = Promise.resolve();
  #file: FileHandle | null = null;
  #tail: Tail | null = null;
  #syncTimer: NodeJS.Timeout | undefined;
  #failed = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  get folder(): string {
    return this.#options.folder;
  }

  /** Resolves when the line is in the file. Never rejects: what cannot be written is said in the server's log. */
  async append(event: AuditEvent): Promise<void> {
    const time = new Date(this.#options.clock.now()).toISOString();
    this.#queue = this.#queue.then(async () => this.#append(time, event));
    return this.#queue;
  }

  /** The newest `limit` lines that `wanted` takes, newest first. Lines that are none are left out: `verifyAuditFiles` is for them. */
  async newest(limit: number, wanted: (line: AuditLine) => boolean = () => true): Promise<AuditLine[]> {
    await this.#queue;
    const found: AuditLine[] = [];
    for (const path of (await auditFiles(this.#options.folder)).toReversed()) {
      const inFile: AuditLine[] = [];
      for await (const { bytes, whole } of auditFileLines(path)) {
        if (!whole) continue;
        let line: AuditLine;
        try {
          line = parseAuditLine(bytes.toString('utf8'));
        } catch {
          continue;
        }
        if (!wanted(line)) continue;
        inFile.push(line);
        if (inFile.length > limit) inFile.shift();
      }
      found.push(...inFile.toReversed().slice(0, limit - found.length));
      if (found.length >= limit) break;
    }
    return found;
  }

  /** Waits for all lines, and for the disk. */
  async close(): Promise<void> {
    await this.#queue;
    clearTimeout(this.#syncTimer);
    await this.#sync();
    await this.#file?.close();
    this.#file = null;
    this.#tail = null;
  }

  async #append(time: string, event: AuditEvent): Promise<void> {
    try {
      const { folder, owner } = this.#options;
      await makeFolders(folder, 0o700);
      await withFileLock(join(folder, '.lock'), { timeoutMs: 10_000, rights: { mode: 0o600, owner } }, async () => {
        let tail = await this.#currentTail();
        if (tail.torn !== null) tail = await this.#markTorn(tail, tail.torn, time);
        await this.#write(tail, time, event);
      });
      this.#failed = false;
    } catch (e) {
      // Whatever it was, the next line looks at the files anew.
      this.#tail = null;
      if (!this.#failed) this.#options.log.error(`the audit log in ${this.#options.folder} cannot be written: ${errorChain(e)}`);
      this.#failed = true;
    }
  }

  /** Another process may have written since, or put in a new file. */
  async #currentTail(): Promise<Tail> {
    const path = (await auditFiles(this.#options.folder)).at(-1);
    if (path === undefined) return this.#use({ path: join(this.#options.folder, fileName(1)), size: 0, seq: 0, hash: firstPrevious, torn: null, endsLine: true });
    if (this.#tail?.path === path && this.#file !== null && (await this.#file.stat()).size === this.#tail.size) return this.#tail;
    const tail = await tailOf(path);
    if (tail.seq > 0) return this.#use(tail);
    // A file of which nothing was written but a torn line, or nothing at all: the chain goes on from the file before.
    const before = (await auditFiles(this.#options.folder)).at(-2);
    if (before === undefined) return this.#use(tail);
    const { seq, hash } = await tailOf(before);
    return this.#use({ ...tail, seq, hash });
  }

  async #use(tail: Tail): Promise<Tail> {
    if (this.#tail?.path !== tail.path || this.#file === null) {
      await this.#sync();
      await this.#file?.close();
      this.#file = null;
      const { owner } = this.#options;
      const file = await open(tail.path, 'a+', 0o600);
      this.#file = file;
      if (owner !== null && tail.size === 0) await file.chown(owner.uid, owner.gid);
      if (tail.size === 0) await syncFolder(this.#options.folder);
    }
    this.#tail = tail;
    return tail;
  }

  /** The torn bytes stay where they are; the line behind them says so. */
  async #markTorn(tail: Tail, torn: Buffer, time: string): Promise<Tail> {
    try {
      // Nothing but its line feed was missing.
      const { seq, hash } = parseAuditLine(torn.toString('utf8'));
      if (seq === tail.seq + 1 && !tail.endsLine) {
        await this.#file!.appendFile('\n');
        return await this.#use({ ...tail, size: tail.size + 1, seq, hash, torn: null, endsLine: true });
      }
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
    }
    return this.#write(tail, time, { event: 'torn', auth: '', address: 'local', bytes: torn.length, sha256: createHash('sha256').update(torn).digest('hex') });
  }

  async #write(tail: Tail, time: string, event: AuditEvent): Promise<Tail> {
    const seq = tail.seq + 1;
    const { text, hash } = formatAuditLine({ seq, time, prev: tail.hash }, event);
    // What marks a torn line stands right behind it.
    const isFull = tail.torn === null && tail.size > (this.#options.rotateAboveBytes ?? 32 * 1024 * 1024);
    const place = isFull ? await this.#use({ path: join(this.#options.folder, fileName(seq)), size: 0, seq: tail.seq, hash: tail.hash, torn: null, endsLine: true }) : tail;
    // One write: a crash leaves a beginning of it, never something else.
    const bytes = Buffer.from(`${place.endsLine ? '' : '\n'}${text}\n`);
    await this.#file!.appendFile(bytes);
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      this.#queue = this.#queue.then(async () => this.#sync());
    }, this.#options.syncWithinMs ?? 1000);
    return this.#use({ ...place, size: place.size + bytes.length, seq, hash, torn: null, endsLine: true });
  }

  async #sync(): Promise<void> {
    try {
      await this.#file?.datasync();
    } catch (e) {
      this.#options.log.error(`the audit log could not be brought to disk: ${errorChain(e)}`);
    }
  }
}
