import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { AbortedError } from '../../src/base/errors.ts';
import { runClient } from '../../src/client/main.ts';
import { userFolders } from '../../src/client/user-folders.ts';
import type { ByteOutput } from '../../src/client/restore-target.ts';
import { StreamLineInput } from '../../src/terminal/line-input.ts';
import type { Background } from '../../src/terminal/background.ts';
import type { Prompter } from '../../src/terminal/prompter.ts';
import { clientPasswords, type ClientServer } from './client-server.ts';
import { temporaryFolder } from './golden.ts';

/** Runs of the backup client in this process. */

export interface ClientRun {
  stdout: string;
  /** Written as bytes, which come after `stdout` if both are used. */
  bytes: Buffer;
  stderr: string;
  exit: number;
}

/** A person who gives these answers in turn, and notes what was asked. */
export class ScriptedPrompter implements Prompter {
  readonly canAsk = true;
  readonly asked: string[] = [];
  readonly #answers: string[];

  constructor(...answers: string[]) {
    this.#answers = answers;
  }

  secret = (prompt: string): Promise<string> => this.#next(`secret: ${prompt}`);
  line = (prompt: string): Promise<string> => this.#next(prompt);
  answer = (): Promise<string> => this.#next('answer');

  #next(prompt: string): Promise<string> {
    this.asked.push(prompt);
    const answer = this.#answers.shift();
    return answer === undefined ? Promise.reject(new AbortedError('interrupted at the terminal')) : Promise.resolve(answer);
  }
}

export const nobody: Prompter = {
  canAsk: false,
  secret: () => Promise.reject(new Error('nobody was to be asked')),
  line: () => Promise.reject(new Error('nobody was to be asked')),
  answer: () => Promise.resolve(''),
};

/** Nothing goes on after a run in this process. */
const foreground: Background = {
  isBackground: false,
  start: () => Promise.reject(new Error('nothing goes to the background here')),
  letGo: () => Promise.reject(new Error('nothing goes to the background here')),
};

export interface ClientRunOptions {
  /** Beside those of the home; null takes one away. */
  env?: Readonly<Record<string, string | null>>;
  prompter?: Prompter;
  background?: Background;
  /** Standard input of a shell. */
  input?: string | Buffer;
  clock?: Clock;
  trusted?: readonly string[];
  output?: ByteOutput;
  drawsProgress?: boolean;
  completion?: { line: string; point: string };
  /** Called with a function that interrupts, when somebody listens. */
  onListen?: (interrupt: () => void) => void;
}

/** A user's home with the client's files in it. */
export class ClientHome {
  readonly path: string;
  readonly #env: Readonly<Record<string, string>>;

  constructor(path: string, server: ClientServer | null) {
    this.path = path;
    this.#env = {
      XDG_RUNTIME_DIR: join(path, 'run'),
      ...(server === null ? {} : { PBS_REPOSITORY: `admin@pbs@127.0.0.1:${server.port}:main`, PBS_PASSWORD: clientPasswords['admin@pbs'], PBS_FINGERPRINT: server.fingerprint }),
    };
  }

  static async make(t: TestContext, server: ClientServer | null): Promise<ClientHome> {
    const folder = await temporaryFolder();
    t.after(() => folder[Symbol.asyncDispose]());
    await mkdir(join(folder.path, 'run'), { mode: 0o700 });
    return new ClientHome(folder.path, server);
  }

  async run(argv: readonly string[], options: ClientRunOptions = {}): Promise<ClientRun> {
    const variables = Object.fromEntries(Object.entries({ ...this.#env, ...options.env }).filter((entry): entry is [string, string] => entry[1] !== null));
    const out = { stdout: '', stderr: '' };
    const bytes: Buffer[] = [];
    const exit = await runClient(argv, {
      program: 'proxmox-backup-client',
      version: '1.2.3',
      stdout: { write: (text) => void (out.stdout += text) },
      stdoutBytes: options.output ?? {
        write: (piece) => {
          bytes.push(Buffer.from(piece));
          return Promise.resolve();
        },
      },
      stderr: { write: (text) => void (out.stderr += text) },
      output: {
        defaultFormat: variables['PROXMOX_OUTPUT_FORMAT'],
        border: variables['PROXMOX_OUTPUT_NO_BORDER'] === undefined,
        header: variables['PROXMOX_OUTPUT_NO_HEADER'] === undefined,
        unicode: true,
        width: undefined,
        timeZone: 'UTC',
      },
      drawsProgress: options.drawsProgress ?? false,
      interrupts: {
        listen: (handler) => {
          options.onListen?.(handler);
          return () => {};
        },
      },
      pause: () => setTimeout(20),
      prompter: options.prompter ?? nobody,
      background: options.background ?? foreground,
      lineInput: new StreamLineInput(Readable.from([Buffer.from(options.input ?? '')]), new Writable()),
      variables,
      folders: userFolders(variables, this.path),
      clock: options.clock ?? systemClock,
      hostName: 'laptop.example.com',
      trusted: options.trusted,
      completion: options.completion ?? { line: undefined, point: undefined },
    });
    return { ...out, bytes: Buffer.concat(bytes), exit };
  }
}
