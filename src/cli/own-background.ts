import { spawn, type StdioOptions } from 'node:child_process';
import { closeSync, constants, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Background } from '../terminal/background.ts';
import type { TextSink } from '../terminal/output.ts';
import { replaceDescriptor } from '../sys/replace-descriptor.ts';

/** Tells the process that goes on that it is that one. */
const marker = 'FARSHORE_BACKGROUND';
const readyMessage = 'ready';
/** A log that nobody looks at does not fill the disk. */
const maxLogBytes = 16 * 1024 * 1024;

/** Descriptors beyond the first three that variables name (`PBS_PASSWORD_FD=3`), and one more for messages. */
function descriptors(): StdioOptions {
  const named = Object.entries(process.env).flatMap(([name, value]) => (/^PBS_[A-Z_]+_FD$/.test(name) ? [Number(value)] : []));
  const lawful = new Set(named.filter((fd) => Number.isInteger(fd) && fd > 2 && fd < 1024));
  const more = Array.from({ length: Math.max(2, ...lawful) - 2 }, (_, at): 'inherit' | 'ignore' => (lawful.has(at + 3) ? 'inherit' : 'ignore'));
  return ['inherit', 'pipe', 'pipe', ...more, 'ipc'];
}

/** Ends with what it was started by, as long as that one waits. */
function startAgain(): Promise<number> {
  const [program, ...words] = process.argv.slice(1);
  const child = spawn(process.execPath, [...process.execArgv, program!, ...words], {
    detached: true,
    stdio: descriptors(),
    env: { ...process.env, [marker]: '1' },
  });
  child.stdout!.pipe(process.stdout, { end: false });
  child.stderr!.pipe(process.stderr, { end: false });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, pass);
  return new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('message', (message) => {
      if (message !== readyMessage) return;
      child.unref();
      child.channel?.unref();
      // What it has written before is there when it closes its ends.
      child.stdout!.on('close', () => resolve(0));
    });
    child.on('close', (code) => resolve(code ?? 255));
  }).finally(() => {
    for (const signal of signals) process.off(signal, pass);
    if (child.connected) child.disconnect();
  });
}

/** Lines at the end of a file, until it is full. */
function logFile(path: string): TextSink {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  return {
    write: (text) => {
      if (fstatSync(fd).size < maxLogBytes) writeSync(fd, text);
    },
  };
}

/** This process in the background; `stderr` writes to where it points. */
export function ownBackground(stderr: TextSink): { background: Background; stderr: TextSink } {
  let sink = stderr;
  const background: Background = {
    isBackground: process.env[marker] !== undefined && process.send !== undefined,
    start: startAgain,
    letGo: async (logPath) => {
      sink = logFile(logPath);
      process.chdir('/');
      await new Promise<void>((resolve, reject) => process.send!(readyMessage, (e: Error | null) => (e === null ? resolve() : reject(e))));
      process.disconnect!();
      process.stdin.destroy();
      const nothing = openSync('/dev/null', constants.O_RDWR);
      for (const fd of [0, 1, 2]) replaceDescriptor(nothing, fd);
      closeSync(nothing);
    },
  };
  return { background, stderr: { write: (text) => sink.write(text) } };
}
