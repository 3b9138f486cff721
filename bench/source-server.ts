import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { SourceProcessFigures, SourceProcessReady } from '../test/support/source-process.ts';

const program = fileURLToPath(new URL('../test/support/source-process.ts', import.meta.url));
/** As the programs run (bin/launch.mjs), and what the environment adds. */
export const nodeOptions = ['--disable-warning=ExperimentalWarning', '--external-memory-accounted-in-global-limit', ...(process.env['NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')];

/** A server with one datastore, `main`, that may be read by the token of sync-source.ts. */
export interface PullSource extends AsyncDisposable {
  /** The datastore's folder. */
  readonly path: string;
  /** On this host. */
  readonly port: number;
  readonly fingerprint: string;
  /** The token's secret. */
  readonly secret: string;
  /** Of chunks that no snapshot needs. */
  readonly ownChunkBytes: number;
  /** What its process did and needed since the last call; null: nobody can tell. */
  figures(): Promise<SourceProcessFigures | null>;
}

/** The source: our server in a process of its own, with one datastore, `main`. */
export class SourceServer implements PullSource {
  readonly path: string;
  readonly port: number;
  readonly fingerprint: string;
  /** It takes any. */
  readonly secret = 'any';
  readonly ownChunkBytes = 0;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(path: string, ready: SourceProcessReady, child: ChildProcess, lines: AsyncIterator<string>) {
    this.path = path;
    this.port = ready.port;
    this.fingerprint = ready.fingerprint;
    this.#child = child;
    this.#lines = lines;
  }

  /** `path`: the datastore. `host`: address to listen on. */
  static async start(path: string, host: string): Promise<SourceServer> {
    const child = spawn(process.execPath, [...nodeOptions, program, path, host], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new SourceServer(path, await nextLine<SourceProcessReady>(lines), child, lines);
  }

  /** What it did and needed since the last call. */
  async figures(): Promise<SourceProcessFigures> {
    this.#child.stdin!.write('\n');
    return nextLine<SourceProcessFigures>(this.#lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin!.end();
    await ended;
  }
}

async function nextLine<T>(lines: AsyncIterator<string>): Promise<T> {
  const next = await lines.next();
  if (next.done === true) throw new Error('the source server ended');
  return JSON.parse(next.value) as T;
}
