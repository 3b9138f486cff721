// Gives a program of this package the Node that it needs: the running one, or the package's own.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const neededMajor = 26;
/**
 * Chunks and TLS records are memory outside V8's heap. Without this flag V8 sometimes does not count them when it decides whether to collect: a sync was
 * seen to hold 1.1 GB instead of 230 MB. It works only from the command line, not when it is set later.
 */
const memoryFlag = '--external-memory-accounted-in-global-limit';
const nodeFlags = ['--disable-warning=ExperimentalWarning', memoryFlag];

/**
 * Keeps what is compiled for the next start, which then takes half of the time and 25 MB less. In the package's own folder: who may write there may change the program as
 * well. Who may not starts as before.
 */
function keepCompiled() {
  module.enableCompileCache(fileURLToPath(new URL('../build/compiled', import.meta.url)));
}

/** Path of the package's own Node; ends the process when it is not installed. */
function ownNode() {
  try {
    const manifest = module.createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/package.json`);
    const node = join(dirname(manifest), 'bin', 'node');
    if (existsSync(node)) return node;
  } catch {
    // Not installed: the message below says what to do.
  }
  console.error(`Error: Node ${neededMajor} or newer is needed, this is ${process.version}, and the package's own Node is not installed for ${process.platform}-${process.arch}.`);
  console.error('Hint: npm install --include=optional, or put a newer node first in PATH');
  return process.exit(1);
}

/** Descriptors that the command names (`--keyfd 3`, `PBS_PASSWORD_FD=3`): Node hands only the first three on by itself. */
function namedDescriptors() {
  const words = process.argv.slice(2).join(' ').matchAll(/--[a-z-]*fd[= ](\d+)/g);
  const variables = Object.entries(process.env).filter(([name]) => /^PBS_[A-Z_]+_FD$/.test(name));
  const numbers = [...[...words].map((match) => Number(match[1])), ...variables.map(([, value]) => Number(value))];
  return numbers.filter((number) => Number.isInteger(number) && number > 2 && number < 1024);
}

/** Starts `node` as a child and ends like it: same exit code, same signal. */
function runChild(node, args) {
  const descriptors = new Set([0, 1, 2, ...namedDescriptors()]);
  const stdio = Array.from({ length: Math.max(...descriptors) + 1 }, (_, fd) => (descriptors.has(fd) ? 'inherit' : 'ignore'));
  const child = spawn(node, args, { stdio });
  // What the terminal sends reaches parent and child; passing it on would make it two.
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  const sentByTerminal = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGQUIT', 'SIGWINCH'];
  for (const signal of signals) {
    process.on(signal, () => {
      if (!(atTerminal && sentByTerminal.has(signal))) child.kill(signal);
    });
  }
  child.on('error', (e) => {
    console.error(`Error: cannot run ${node}: ${e.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Reached with a signal whose default is not to end the process.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

/**
 * Calls `run` when this Node is new enough, otherwise starts the same program again on the package's own Node. The
 * experimental parts of Node that are used here are pinned by the version above, so their warnings say nothing new.
 */
export async function launch(run) {
  if (Number(process.versions.node.split('.')[0]) >= neededMajor) {
    // Completion is asked at every key press and moves no chunk.
    if (!process.execArgv.includes(memoryFlag) && process.env.COMP_LINE === undefined && namedDescriptors().length === 0 && typeof process.execve === 'function') {
      process.execve(process.execPath, [process.execPath, ...nodeFlags, ...process.execArgv, ...process.argv.slice(1)]);
    }
    keepCompiled();
    process.removeAllListeners('warning');
    process.on('warning', (warning) => {
      if (warning.name !== 'ExperimentalWarning') console.error(`(node:${process.pid}) ${warning.name}: ${warning.message}`);
    });
    await run();
    return;
  }
  const node = ownNode();
  const args = [...nodeFlags, ...process.argv.slice(1)];
  // Replacing the process keeps its id and needs no passing on of signals; Node before 22.15 cannot do it.
  if (typeof process.execve === 'function' && namedDescriptors().length === 0) process.execve(node, [node, ...args]);
  runChild(node, args);
}
