import { link, lstat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { nodeFileCalls, syncDirectory, temporaryName, writeFully, type FileCalls } from '../datastore/replace-file.ts';
import { quotedPath } from '../datastore/store-error.ts';
import { systemErrorText } from './system-error-text.ts';

/** Where restored bytes go, in order. */
export interface ByteTarget {
  /** Takes `bytes` before the promise is fulfilled; they may be changed afterwards. */
  write(bytes: Uint8Array): Promise<void>;
  /** As many zero bytes. */
  writeZeros(count: number): Promise<void>;
}

const fullHint = 'free space on the file system of the target, or restore to another one';

function targetError(e: unknown, what: string): StoreError {
  const code = errorCode(e);
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new StoreError(isFull ? 'store.full' : 'store.target', `${what} - ${systemErrorText(e)}`, isFull ? { hint: fullHint } : {});
}

/** The calls that making a target needs: injected so that a test can make the n-th of them fail. */
export interface TargetCalls extends FileCalls {
  link(from: string, to: string): Promise<void>;
}

const nodeTargetCalls: TargetCalls = { ...nodeFileCalls, link };

/** What a file system without hard links answers `link` with. */
const noLinkCodes = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EXDEV']);

/**
 * A new file that becomes visible whole or not at all: written under a temporary name in the target's folder, then given its
 * name, unless something has that name by now. What is not written (`writeZeros`) is a hole. Dispose it whatever happens.
 * All methods throw StoreError: `store.full`, otherwise `store.target`.
 */
export class RestoreTarget implements ByteTarget, AsyncDisposable {
  readonly #path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #files: TargetCalls;
  readonly #mode: number;
  #size = 0;
  #state: 'open' | 'closed' | 'done' = 'open';

  private constructor(path: string, temporary: string, handle: FileHandle, files: TargetCalls, mode: number) {
    this.#path = path;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#files = files;
    this.#mode = mode;
  }

  /** `path` must not exist, not even as a dangling link. The file gets `mode` less the process's mask. */
  static async create(path: string, files: TargetCalls = nodeTargetCalls, mode = 0o666): Promise<RestoreTarget> {
    try {
      await refuseExisting(path);
      const temporary = temporaryName(path);
      return new RestoreTarget(path, temporary, await files.open(temporary, 'wx', mode), files, mode);
    } catch (e) {
      throw targetError(e, `unable to create target file ${quotedPath(path)}`);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await writeFully(this.#handle, bytes, this.#size);
    } catch (e) {
      throw targetError(e, `unable to write target file ${quotedPath(this.#path)}`);
    }
    this.#size += bytes.byteLength;
  }

  async writeZeros(count: number): Promise<void> {
    this.#size += count;
  }

  /** Makes the file whole, durable and visible. */
  async commit(): Promise<void> {
    try {
      await this.#handle.truncate(this.#size);
      await this.#handle.sync();
      this.#state = 'closed';
      await this.#handle.close();
      await this.#giveName();
      this.#state = 'done';
      await syncDirectory(dirname(this.#path), this.#files);
    } catch (e) {
      throw targetError(e, `unable to finish target file ${quotedPath(this.#path)}`);
    }
  }

  /** Removes what is not finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.#handle.close();
    // The error that led here is the one to report; without one the file is gone or finished.
    if (this.#state !== 'done') await this.#files.unlink(this.#temporary).catch(() => {});
  }

  async #giveName(): Promise<void> {
    try {
      await this.#files.link(this.#temporary, this.#path);
    } catch (e) {
      if (!noLinkCodes.has(errorCode(e))) throw e;
      // An empty file takes the name, so that nothing of somebody else can be replaced.
      await (await this.#files.open(this.#path, 'wx', this.#mode)).close();
      await this.#files.rename(this.#temporary, this.#path);
      return;
    }
    await this.#files.unlink(this.#temporary);
  }
}

async function refuseExisting(path: string): Promise<void> {
  try {
    await lstat(path);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return;
    throw e;
  }
  throw Object.assign(new Error('the target exists'), { code: 'EEXIST' });
}

/** Standard output and the like. */
export interface ByteOutput {
  /** Rejects when the reader is gone. */
  write(bytes: Uint8Array): Promise<void>;
}

const zeros = Buffer.alloc(1024 * 1024);

/** A pipe: zeros are written like everything else. */
export class PipeTarget implements ByteTarget {
  readonly #output: ByteOutput;

  constructor(output: ByteOutput) {
    this.#output = output;
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#output.write(bytes);
    } catch (e) {
      throw targetError(e, 'unable to write to standard output');
    }
  }

  async writeZeros(count: number): Promise<void> {
    for (let left = count; left > 0; left -= zeros.length) await this.write(zeros.subarray(0, Math.min(left, zeros.length)));
  }
}
