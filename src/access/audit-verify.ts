import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { FormatError, StoreError } from '../base/errors.ts';
import { firstPrevious, maxAuditLine, parseAuditLine, type AuditLine } from './audit-line.ts';

/** The first line that is not what it was, or not where it was. */
export interface BadAuditLine {
  file: string;
  /** From 1. */
  line: number;
  reason: string;
}

export interface AuditVerification {
  files: number;
  lines: number;
  /** Lines that a power cut tore and that the log marks as such. */
  torn: number;
  /** Null when there is no line. A first number above 1: older files are elsewhere. */
  first: { seq: number; time: string } | null;
  /** Note the hash elsewhere: nobody can then cut off or rewrite lines up to it unseen. */
  last: { seq: number; time: string; hash: string } | null;
  /** The last file ends within a line: the server is writing, or was killed; the next start marks it. */
  unfinished: boolean;
  /** Whether a hash that was asked for is one of the lines'. */
  contains?: boolean;
  bad: BadAuditLine | null;
}

/** Lines of a file with their numbers; `whole` is false for a last one without line feed. What is longer than a line may be comes cut. StoreError `store.read`. */
export async function* auditFileLines(path: string): AsyncGenerator<{ bytes: Buffer; number: number; whole: boolean }> {
  let number = 1;
  let rest: Buffer[] = [];
  let restLength = 0;
  try {
    for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
        rest.push(piece.subarray(from, end));
        yield { bytes: Buffer.concat(rest), number, whole: true };
        number += 1;
        rest = [];
        restLength = 0;
        from = end + 1;
      }
      const left = piece.subarray(from);
      restLength += left.length;
      // One byte more than allowed is enough to refuse it.
      if (restLength <= maxAuditLine + 1) rest.push(left);
      else if (rest.length === 0) rest.push(left.subarray(0, maxAuditLine + 1));
    }
  } catch (e) {
    throw new StoreError('store.read', `cannot read ${path}`, { cause: e });
  }
  if (restLength > 0) yield { bytes: Buffer.concat(rest), number, whole: false };
}

const lineFeed = Buffer.from('\n');
/** One power cut tears one line; some may follow each other before anything is written. */
const maxTornPieces = 4;

/** Follows the chain through any number of files. */
class ChainCheck {
  readonly result: AuditVerification = { files: 0, lines: 0, torn: 0, first: null, last: null, unfinished: false, bad: null };
  /** Lines that are none, until the next one says that they were torn. */
  #doubtful: (BadAuditLine & { pieces: Buffer[] }) | null = null;

  /** Takes the next line; whether to go on. */
  take(file: string, number: number, bytes: Buffer, expected: string | undefined): boolean {
    let line: AuditLine;
    try {
      line = parseAuditLine(bytes.toString('utf8'));
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      this.#doubtful ??= { file, line: number, reason: e.message, pieces: [] };
      this.#doubtful.pieces.push(bytes);
      return this.#doubtful.pieces.length <= maxTornPieces || this.#refuse(this.#doubtful);
    }
    if (this.#doubtful !== null) {
      const torn = Buffer.concat(this.#doubtful.pieces.flatMap((piece, index) => (index === 0 ? [piece] : [lineFeed, piece])));
      if (line.event !== 'torn' || line.bytes !== torn.length || line.sha256 !== createHash('sha256').update(torn).digest('hex')) return this.#refuse(this.#doubtful);
      this.#doubtful = null;
      this.result.torn += 1;
    } else if (line.event === 'torn') {
      return this.#refuse({ file, line: number, reason: 'a line before it is missing: it marks one that was torn' });
    }
    const { last } = this.result;
    if (last === null) {
      if (line.seq === 1 && line.prev !== firstPrevious) return this.#refuse({ file, line: number, reason: 'the first line follows nothing' });
      this.result.first = { seq: line.seq, time: line.time };
    } else if (line.seq !== last.seq + 1) {
      return this.#refuse({ file, line: number, reason: `number ${line.seq} follows number ${last.seq}: lines are missing, doubled or in another order` });
    } else if (line.prev !== last.hash) {
      return this.#refuse({ file, line: number, reason: 'it does not follow the line before: that one was changed, or put in' });
    }
    this.result.last = { seq: line.seq, time: line.time, hash: line.hash };
    this.result.lines += 1;
    if (line.hash === expected) this.result.contains = true;
    return true;
  }

  /** After the last line. `unfinished`: bytes behind the last line feed. */
  end(unfinished: boolean): AuditVerification {
    this.result.unfinished = unfinished;
    if (this.#doubtful !== null && this.result.bad === null) this.#refuse(this.#doubtful);
    return this.result;
  }

  #refuse({ file, line, reason }: BadAuditLine): false {
    this.result.bad = { file, line, reason };
    return false;
  }
}

/**
 * Follows the chain through `paths`, in this order, up to the first bad line; needs nothing but the files. `expected`: a hash that was noted before and
 * must be found. StoreError `store.read`.
 */
export async function verifyAuditFiles(paths: readonly string[], expected?: string): Promise<AuditVerification> {
  const check = new ChainCheck();
  if (expected !== undefined) check.result.contains = false;
  for (const [index, path] of paths.entries()) {
    check.result.files += 1;
    for await (const { bytes, number, whole } of auditFileLines(path)) {
      if (!whole) {
        if (index === paths.length - 1) return check.end(true);
        check.result.bad = { file: basename(path), line: number, reason: 'the file ends within a line' };
        return check.result;
      }
      if (!check.take(basename(path), number, bytes, expected)) return check.result;
    }
  }
  return check.end(false);
}
