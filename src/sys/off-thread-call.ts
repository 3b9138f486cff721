import { Worker } from 'node:worker_threads';
import { SystemCallError } from './libc.ts';

type Reply = { value: unknown } | { errno: number } | { failure: string };

/**
 * Runs `body`, the text of a function body that sees `ffi` (the module) and `input`, in a thread of its own: for the few calls of the C library
 * that take long and would stop the event loop. It returns `{ value }`, or `{ errno }` which is thrown as SystemCallError.
 * The text is plain JavaScript so that it runs the same from source and from a build.
 */
export async function callOffThread(name: string, body: string, input: unknown): Promise<unknown> {
  const source = `
    const { parentPort, workerData: input } = require('node:worker_threads');
    const ffi = require('node:ffi');
    let reply;
    try { reply = (() => { ${body} })(); } catch (e) { reply = { failure: String(e && e.message || e) }; }
    parentPort.postMessage(reply);`;
  const worker = new Worker(source, { eval: true, workerData: input, execArgv: ['--disable-warning=ExperimentalWarning'], env: {} });
  try {
    const reply = await new Promise<Reply>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error(`${name}: the thread ended without a result`)));
    });
    if ('errno' in reply) throw new SystemCallError(name, reply.errno);
    if ('failure' in reply) throw new Error(`${name}: ${reply.failure}`);
    return reply.value;
  } finally {
    await worker.terminate();
  }
}
