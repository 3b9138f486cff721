import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { LocalServer } from '../../src/cli/api-connection.ts';
import { splitShellLine } from '../../src/terminal/completion.ts';
import { runManager } from '../../src/cli/main.ts';
import type { ManagerIo } from '../../src/cli/main.ts';
import type { OutputSettings } from '../../src/terminal/output.ts';

/** Runs of the manager against canned answers, and recorded runs of the reference to compare with. */

export interface Run {
  stdout: string;
  stderr: string;
  exit: number;
}

/** One request as the server got it. */
export interface SeenCall {
  method: string;
  /** Path below `/api2/json`, with the query. */
  target: string;
  body: unknown;
}

/** Value under `data`, or a whole answer. */
export type CannedAnswer = { data: unknown; [sibling: string]: unknown } | { status: number; text: string } | ((call: SeenCall) => unknown);

/** An API that answers from `answers` (`GET /access/users`, query not looked at; null data otherwise) and notes every call. */
export class CannedServer {
  readonly calls: SeenCall[] = [];
  readonly #answers: Readonly<Record<string, CannedAnswer>>;
  closed = 0;

  constructor(answers: Readonly<Record<string, CannedAnswer>> = {}) {
    this.#answers = answers;
  }

  readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const text = Buffer.concat(parts).toString();
      const target = (request.url ?? '').replace(/^\/api2\/json/, '');
      const call: SeenCall = { method: request.method ?? '', target, body: text === '' ? null : JSON.parse(text) };
      this.calls.push(call);
      const path = decodeURIComponent(target.split('?')[0]!);
      const canned = this.#answers[`${call.method} ${path}`];
      const answer = typeof canned === 'function' ? canned(call) : (canned ?? { data: null });
      if (typeof answer === 'object' && answer !== null && 'status' in answer && 'text' in answer) {
        response.writeHead(Number(answer.status), { 'content-type': 'application/json;charset=UTF-8' }).end(String(answer.text));
      } else response.end(JSON.stringify(answer));
    });
  };

  open = async (): Promise<LocalServer> => ({
    handle: this.handle,
    close: async () => {
      this.closed += 1;
    },
  });
}

export const plainSettings: OutputSettings = { defaultFormat: undefined, border: true, header: true, unicode: true, width: undefined, timeZone: 'UTC' };

export interface RunOptions {
  program?: string;
  settings?: Partial<OutputSettings>;
  io?: Partial<ManagerIo>;
}

/** Runs the manager in this process with `argv` against `server`. */
export async function runWith(server: CannedServer, argv: readonly string[], options: RunOptions = {}): Promise<Run> {
  const out = { stdout: '', stderr: '' };
  const io: ManagerIo = {
    program: options.program ?? 'farshore',
    version: '1.2.3',
    stdout: { write: (text) => void (out.stdout += text) },
    stderr: { write: (text) => void (out.stderr += text) },
    output: { ...plainSettings, ...options.settings },
    drawsProgress: false,
    interrupts: { listen: () => () => {} },
    pause: async () => {},
    server: { socketPath: join('/nonexistent', 'farshore.sock'), openLocal: server.open },
    commands: [],
    completion: { line: undefined, point: undefined },
    ...options.io,
  };
  const exit = await runManager(argv, io);
  return { ...out, exit };
}

/** A recorded run of the reference: the command line and what it printed. */
export interface Recording extends Run {
  /** Words after the program's name. */
  argv: string[];
  environment: Record<string, string>;
  /** What stands after the command: `2>&1 | head -1`. */
  pipe: string;
}

const program = 'proxmox-backup-manager';

function parseBlock(block: string): Recording {
  const newline = block.indexOf('\n');
  const line = block.slice(2, newline);
  const rest = `${block.slice(newline + 1)}\n`;
  const pipeAt = line.search(/ 2>&1| \| /);
  const { done, last } = splitShellLine(pipeAt < 0 ? line : line.slice(0, pipeAt));
  const words = last === '' && !/(?:''|"")$/.test(line) ? done : [...done, last];
  const start = words.indexOf(program);
  const exitMatch = /\[exit (\d+)\]\n*$/.exec(rest);
  const stderrAt = rest.search(/^\[stderr\]\n/m);
  const body = exitMatch === null ? rest : rest.slice(0, exitMatch.index);
  return {
    argv: words.slice(start + 1),
    environment: Object.fromEntries(words.slice(0, start).map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)])),
    pipe: pipeAt < 0 ? '' : line.slice(pipeAt).trim(),
    stdout: (stderrAt < 0 ? body : body.slice(0, stderrAt)).replace(/\n+$/, '\n').replace(/^\n$/, ''),
    stderr: stderrAt < 0 ? '' : body.slice(stderrAt + '[stderr]\n'.length).replace(/\n+$/, '\n'),
    exit: exitMatch === null ? 0 : Number(exitMatch[1]),
  };
}

/** The runs in `test/fixtures/cli/manager/{name}.txt`, in order. */
export function recordings(name: string): Recording[] {
  const text = readFileSync(new URL(`../fixtures/cli/manager/${name}.txt`, import.meta.url), 'utf8');
  return text
    .split(/\n(?=\$ )/)
    .filter((block) => block.startsWith('$ ') && block.includes(program))
    .map(parseBlock);
}

/** Output of `run` through the recording's `2>&1 | head -N`; other pipes give null. */
export function throughPipe(run: Run, pipe: string): string | null {
  const match = /^2>&1 \| head -(\d+)$/.exec(pipe);
  if (match === null) return null;
  return `${(run.stdout + run.stderr).split('\n').slice(0, Number(match[1])).join('\n')}\n`;
}
