import { closeSync, writevSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { errorCode, StoreError } from '../base/errors.ts';
import { EventDescriptor } from '../sys/event-descriptor.ts';
import { SystemCallError } from '../sys/libc.ts';
import { maxRequestLength } from './request.ts';
import type { FuseChannel } from './session.ts';

/**
 * Waits for requests in a thread of its own: the device is no stream that Node could wait for, and a waiting read would take one of the few threads
 * that files and decompression share. Plain JavaScript, so that it runs the same from source and from a build.
 */
const readerText = `
const { parentPort, workerData } = require('node:worker_threads');
const ffi = require('node:ffi');
const { fd, wake, maxLength } = workerData;
const { functions: libc } = ffi.dlopen(null, {
  __errno_location: { arguments: [], return: 'pointer' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  read: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
});
const errnoAddress = libc.__errno_location();
const EINTR = 4, ENOENT = 2, EAGAIN = 11, ENODEV = 19, ECONNABORTED = 103;
const buffer = Buffer.alloc(maxLength);
const polled = Buffer.alloc(16);
let end = null;
while (end === null) {
  polled.writeInt32LE(fd, 0); polled.writeInt32LE(1, 4);
  polled.writeInt32LE(wake, 8); polled.writeInt32LE(1, 12);
  if (libc.poll(polled, 2n, -1) < 0) {
    const errno = ffi.getInt32(errnoAddress);
    if (errno !== EINTR) end = { errno };
    continue;
  }
  if (polled.readInt16LE(14) !== 0) { end = {}; break; }
  const requests = [];
  while (requests.length < 64) {
    const length = Number(libc.read(fd, buffer, BigInt(maxLength)));
    if (length < 0) {
      const errno = ffi.getInt32(errnoAddress);
      if (errno === EAGAIN) break;
      // A request was taken back before it could be read.
      if (errno === EINTR || errno === ENOENT) continue;
      end = errno === ENODEV || errno === ECONNABORTED ? {} : { errno };
      break;
    }
    requests.push(Uint8Array.prototype.slice.call(buffer, 0, length));
  }
  if (requests.length > 0) parentPort.postMessage({ requests });
}
parentPort.postMessage({ end });
`;

type ReaderMessage = { requests: Uint8Array[] } | { end: { errno?: number } };

/** Errors of a reply that say that nobody waits for it any more: interrupted, or unmounted. */
const nobodyWaits = new Set(['ENOENT', 'ENODEV', 'ECONNABORTED']);

/** An open `/dev/fuse` that a file system is mounted with. Closing it ends the mount for whoever still uses it. */
export class FuseDevice implements FuseChannel, AsyncDisposable {
  readonly #fd: number;
  readonly #wake = new EventDescriptor();
  #worker: Worker | null = null;
  #isClosed = false;

  /** `fd`: of `/dev/fuse`, non-blocking; it is closed with this object. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Once. Throws SystemCallError. */
  async *requests(): AsyncGenerator<readonly Buffer[], void, undefined> {
    const worker = new Worker(readerText, {
      eval: true,
      workerData: { fd: this.#fd, wake: this.#wake.fd, maxLength: maxRequestLength },
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: {},
    });
    this.#worker = worker;
    const messages: ReaderMessage[] = [];
    let wake: () => void = () => {};
    let failure: Error | null = null;
    worker.on('message', (message: ReaderMessage) => {
      messages.push(message);
      wake();
    });
    worker.on('error', (e: Error) => {
      failure = e;
      wake();
    });
    worker.on('exit', () => {
      failure ??= new StoreError('store.fuse', 'the thread that reads requests ended');
      wake();
    });
    for (;;) {
      const message = messages.shift();
      if (message === undefined) {
        if (failure !== null) throw failure as Error;
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      if ('end' in message) {
        if (message.end.errno !== undefined) throw new SystemCallError('read', message.end.errno, '/dev/fuse');
        return;
      }
      yield message.requests.map((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }
  }

  reply(parts: readonly Buffer[]): void {
    if (this.#isClosed) return;
    try {
      writevSync(this.#fd, parts);
    } catch (e) {
      if (!nobodyWaits.has(errorCode(e))) throw e;
    }
  }

  /** Ends `requests`. */
  stop(): void {
    if (!this.#isClosed) this.#wake.signal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.stop();
    this.#isClosed = true;
    const worker = this.#worker;
    if (worker !== null) {
      // It waits in a system call until it is woken; only then are its descriptors free.
      const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      if (worker.threadId !== -1) await gone;
    }
    closeSync(this.#fd);
    this.#wake[Symbol.dispose]();
  }
}
