import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** A TCP server that gives each connection to `serve`; `close` waits for what it returned. */
export async function socketServer(serve: (socket: Duplex) => Promise<unknown>): Promise<{ port: number; close: () => Promise<void>; settled: () => Promise<void> }> {
  const running = new Set<Promise<unknown>>();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const one: Promise<unknown> = serve(socket).finally(() => running.delete(one));
    running.add(one);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const settled = async (): Promise<void> => {
    while (running.size > 0) await Promise.allSettled(running);
  };
  return {
    port: (server.address() as AddressInfo).port,
    settled,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await settled();
    },
  };
}

/** A prior-knowledge client session with the reference client's windows. */
export async function h2Client(port: number): Promise<ClientHttp2Session> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  return h2ClientOn(socket);
}

export async function h2ClientOn(socket: Duplex): Promise<ClientHttp2Session> {
  const session = connectHttp2('http://localhost:8007', {
    createConnection: () => socket,
    maxSessionMemory: 2048,
    settings: { initialWindowSize: 2_147_483_646, maxFrameSize: 4_194_304, enablePush: false },
  });
  session.on('error', () => {});
  await once(session, 'remoteSettings');
  session.setLocalWindowSize(2_147_483_646);
  return session;
}

export interface H2Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export async function h2Request(session: ClientHttp2Session, method: string, path: string, options: { headers?: OutgoingHttpHeaders; body?: Buffer } = {}): Promise<H2Answer> {
  const stream = session.request({ ':method': method, ':path': path, ...options.headers }, { endStream: options.body === undefined });
  if (options.body !== undefined) stream.end(options.body);
  const response = once(stream, 'response') as Promise<[IncomingHttpHeaders]>;
  const parts: Buffer[] = [];
  stream.on('data', (piece: Buffer) => parts.push(piece));
  const [headers] = await response;
  if (!stream.readableEnded) await once(stream, 'end');
  return { status: Number(headers[':status']), headers, body: Buffer.concat(parts) };
}
