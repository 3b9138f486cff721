import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const script = `const { createServer } = require('node:net');
const server = createServer(() => {}).listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));`;
/** More than the queue takes; what is left of them waits, like everything that comes after. */
const fillers = 8;

/**
 * A port of 127.0.0.1 that answers nothing, as behind a firewall that drops packets: a process that listens is stopped, and its queue is full, so that the
 * kernel drops further attempts.
 */
export async function startBlackHole(): Promise<{ port: number } & AsyncDisposable> {
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const port = Number(line);
  child.kill('SIGSTOP');
  const sockets: Socket[] = Array.from({ length: fillers }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.race(sockets.map((socket) => once(socket, 'connect')));
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
