import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DelayProxy, type LineShape } from '../test/support/delay-proxy.ts';

const pieceBytes = 64 * 1024;

/** Somebody else's download over the line of `proxy`: one TCP connection that always has something to send. */
export class Neighbour implements AsyncDisposable {
  readonly #server: Server;
  readonly #proxy: DelayProxy;
  readonly #sockets: Socket[];

  private constructor(server: Server, proxy: DelayProxy, sockets: Socket[]) {
    this.#server = server;
    this.#proxy = proxy;
    this.#sockets = sockets;
  }

  static async start(proxy: DelayProxy, line: LineShape): Promise<Neighbour> {
    const sockets: Socket[] = [];
    const piece = Buffer.alloc(pieceBytes);
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      const fill = (): void => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on('drain', fill);
      fill();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const own = await DelayProxy.start({ target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port }, ...line, sharesLineOf: proxy });
    const client = connect(own.port, '127.0.0.1');
    client.on('error', () => {});
    client.resume();
    sockets.push(client);
    await once(client, 'data');
    return new Neighbour(server, own, sockets);
  }

  /** Bytes per second in the next `milliseconds`. */
  async rate(milliseconds: number): Promise<number> {
    const stop = this.watch();
    await sleep(milliseconds);
    return stop();
  }

  /** Bytes per second from now until the result is called. */
  watch(): () => number {
    const bytes = this.#proxy.delivered.down;
    const startedMs = performance.now();
    return () => ((this.#proxy.delivered.down - bytes) / (performance.now() - startedMs)) * 1000;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#proxy[Symbol.asyncDispose]();
    this.#server.close();
  }
}
