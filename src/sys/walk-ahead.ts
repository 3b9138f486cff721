import { Worker } from 'node:worker_threads';
import { decodeStat, statWords, type EntryStat } from './entry-calls.ts';
import { walkAheadText } from './walk-ahead-thread.ts';

/** What the walk knows of an entry besides its name. */
export interface WalkedEntry {
  name: Buffer;
  /** Null: it could not be looked at. */
  stat: EntryStat | null;
  /** Of a regular file: flags of chattr(1), and it has no attributes and no project. Null: this is to be asked. */
  flags: number | null;
  /** Of a directory: what `listing` knows it by. Null for everything else. */
  directory: number | null;
}

/** Some of the entries of one directory, in the order of their names. */
interface Slice {
  /** Number of the directory. */
  directory: number;
  /** Null: the directory has to be listed by somebody else, and everything below. */
  names: Uint8Array<ArrayBuffer> | null;
  /** Behind each name. */
  ends: Uint32Array;
  facts: Uint32Array;
  isLast: boolean;
}

export interface WalkAheadOptions {
  /** What the file system has (spec pxar 5.2). */
  xattrs: boolean;
  quotaProjectId: boolean;
  /** A directory with an entry of that name is left to others, and everything below. */
  leftOut: string;
  /** Entries that are known before they are wanted, or one slice. Default 32768: some megabytes. */
  mostAhead?: number;
}

/** Words of an entry: those of `struct statx`, what is known, and flags or number of the directory. */
const entryWords = statWords + 2;
const known = { nothing: 0, stat: 1, attributes: 2, directory: 3 } as const;
const defaultMostAhead = 32_768;
const root = 0;

/**
 * Walks a tree in a thread of its own and looks at every entry, so that whoever walks it in the same order finds it done: half of the time that unchanged
 * files take is spent in system calls. It is only ever a help: whatever is unusual, cannot be read or is on another file system is left to the caller.
 */
export class WalkAhead implements AsyncDisposable {
  readonly #worker: Worker;
  /** Entries that were taken, which the thread waits for, and whether it is to stop. */
  readonly #taken = new Int32Array(new SharedArrayBuffer(8));
  readonly #exited: Promise<void>;
  readonly #slices: Slice[] = [];
  #hasEnded = false;
  #failure: Error | null = null;
  #wake: () => void = () => {};

  /** `fd`: the open directory, which stays open until this is disposed of. */
  constructor(fd: number, options: WalkAheadOptions) {
    const workerData = { fd, taken: this.#taken, mostAhead: defaultMostAhead, entryWords, ...options };
    this.#worker = new Worker(walkAheadText, { eval: true, workerData, execArgv: ['--disable-warning=ExperimentalWarning'], env: {}, stdin: false, resourceLimits: { maxYoungGenerationSizeMb: 8 } });
    this.#worker.on('message', (slice: Slice | null) => {
      if (slice === null) this.#hasEnded = true;
      else this.#slices.push(slice);
      this.#wake();
    });
    this.#worker.once('error', (e) => this.#end(e instanceof Error ? e : new Error(String(e))));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#end(null);
        resolve();
      });
    });
  }

  #end(failure: Error | null): void {
    this.#hasEnded = true;
    this.#failure ??= failure;
    this.#wake();
  }

  /** Number of the directory that the walk begins with. */
  get root(): number {
    return root;
  }

  /**
   * The entries of the directory with that number, some at a time; directories among them are to be asked for before the next ones, or not at all. Null: the caller
   * has to list the directory.
   */
  async listing(directory: number): Promise<AsyncIterable<WalkedEntry[]> | null> {
    const first = await this.#take(directory);
    return first === null || first.names === null ? null : this.#rest(first);
  }

  async *#rest(first: Slice): AsyncGenerator<WalkedEntry[], void, undefined> {
    for (let slice: Slice | null = first; ; ) {
      yield entriesOf(slice);
      if (slice.isLast) return;
      slice = await this.#take(slice.directory);
      if (slice === null) throw this.#failure ?? new Error('the thread that walks ahead ended in the middle of a directory');
    }
  }

  /** The next slice of that directory; those of directories that nobody asked for are passed over. */
  async #take(directory: number): Promise<Slice | null> {
    for (;;) {
      const slice = this.#slices.shift();
      if (slice === undefined) {
        if (this.#hasEnded) return null;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      Atomics.add(this.#taken, 0, slice.ends.length);
      Atomics.notify(this.#taken, 0);
      if (slice.directory === directory) return slice;
    }
  }

  /** Ends the thread, which closes what it has open. */
  async [Symbol.asyncDispose](): Promise<void> {
    Atomics.store(this.#taken, 1, 1);
    // The thread may be about to wait for another number than this one.
    Atomics.add(this.#taken, 0, 1);
    Atomics.notify(this.#taken, 0);
    await this.#exited;
  }
}

function entriesOf({ names, ends, facts }: Slice): WalkedEntry[] {
  const bytes = Buffer.from(names!.buffer, names!.byteOffset, names!.byteLength);
  const longs = new BigInt64Array(facts.buffer, facts.byteOffset, facts.length / 2);
  const entries: WalkedEntry[] = [];
  for (let i = 0, start = 0; i < ends.length; i += 1) {
    const end = ends[i]!;
    const at = i * entryWords;
    const what = facts[at + statWords]!;
    const value = facts[at + statWords + 1]!;
    entries.push({
      name: bytes.subarray(start, end),
      stat: what === known.nothing ? null : decodeStat(facts, longs, at),
      flags: what === known.attributes ? value : null,
      directory: what === known.directory ? value : null,
    });
    start = end;
  }
  return entries;
}
