import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { performServerHandshake } from 'node:http2';
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { makeCertificate } from './certificate.ts';
import type { TestCertificate } from './certificate.ts';

/** What a scripted remote does; whatever is missing it refuses. */
export interface RemoteScript {
  onRequest?: (request: IncomingMessage, response: ServerResponse) => void;
  /** Streams of an upgraded session. */
  onStream?: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: ServerHttp2Session) => void;
  /** In place of HTTP/2: the socket as it is after the request for an upgrade; nothing was answered. */
  onUpgrade?: (socket: TLSSocket, request: IncomingMessage) => void;
  maxConcurrentStreams?: number;
  host?: string;
  certificate?: TestCertificate;
}

/** A TLS server in this process that misbehaves as told; shares no code with what it tests. */
export interface ScriptedRemote extends AsyncDisposable {
  port: number;
  fingerprint: string;
  certificate: TestCertificate;
  /** TCP connections accepted so far, and those open. */
  accepted: number;
  open: Set<Socket>;
}

let shared: Promise<TestCertificate> | undefined;

export async function startScriptedRemote(script: RemoteScript): Promise<ScriptedRemote> {
  const certificate = script.certificate ?? (await (shared ??= makeCertificate()));
  const server = createServer({ cert: certificate.cert, key: certificate.key });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    remote.accepted += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  server.on('request', (request, response) => {
    if (script.onRequest === undefined) response.writeHead(404).end('nothing here');
    else script.onRequest(request, response);
  });
  server.on('upgrade', (request: IncomingMessage, duplex, head: Buffer) => {
    const socket = duplex as TLSSocket;
    socket.on('error', () => {});
    if (head.length > 0) socket.unshift(head);
    if (script.onUpgrade !== undefined) {
      script.onUpgrade(socket, request);
      return;
    }
    socket.write(switchingProtocols(request), () => {
      const session = performServerHandshake(socket, {
        settings: { initialWindowSize: 32 * 1024 * 1024, maxFrameSize: 4 * 1024 * 1024, maxConcurrentStreams: script.maxConcurrentStreams ?? 200 },
        maxSessionMemory: 1024,
      });
      session.setLocalWindowSize(32 * 1024 * 1024);
      session.on('error', () => {});
      session.on('stream', (stream, headers) => {
        stream.on('error', () => {});
        script.onStream?.(stream, headers, session);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, script.host ?? '127.0.0.1', resolve));
  const remote: ScriptedRemote = {
    port: (server.address() as AddressInfo).port,
    fingerprint: certificate.fingerprint,
    certificate,
    accepted: 0,
    open,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return remote;
}

export function switchingProtocols(request: IncomingMessage): string {
  return `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${request.headers.upgrade}\r\ndate: ${new Date().toUTCString()}\r\n\r\n`;
}
