import { constants } from 'node:crypto';
import { once } from 'node:events';
import { chmod, lstat, rm } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Caller } from '../api/endpoint.ts';
import type { Router } from '../api/router.ts';
import { ConfigError, errorCode, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { AddressShares } from './address-shares.ts';
import type { ServerCertificate } from './certificate.ts';
import { usualCiphers } from './ciphers.ts';
import { Connections } from './connections.ts';
import { formatListenAddress, type ListenAddress } from './listen-address.ts';

export interface ListenerLimits {
  /** First byte, and then the TLS handshake (spec backup-protocol 10). Default 10 s. */
  handshakeMs?: number;
  /** Request line and headers. Default 30 s. */
  headersMs?: number;
  /** Whole request with its body, upgraded connections excluded. Default 300 s. */
  requestMs?: number;
  /** Idle keep-alive connection. Default 120 s. */
  keepAliveMs?: number;
  /** A connection on which nothing moves while it is not idle: an answer that nobody reads, a handler that does not come back. Upgraded ones excluded. Default 10 min. */
  stalledMs?: number;
  /** Connections beyond it are closed at once. Default 1024. */
  connections?: number;
  /** Of these, how many one address (IPv6: one /64) may have. Default the half. */
  connectionsOfOne?: number;
}

export interface TlsListenerOptions {
  router: Router;
  address: ListenAddress;
  certificate: ServerCertificate;
  log: ProgressLog;
  limits?: ListenerLimits;
  /** Puts something between TLS and HTTP, e.g. token buckets (spec server 12), which closes with the socket that it is given; or gives that one back. */
  wrapSocket?: (socket: Socket) => Duplex;
  /** OpenSSL cipher list for TLS 1.2 and suites for 1.3 (node.cfg `ciphers-tls-1.2`, `ciphers-tls-1.3`). */
  ciphers?: string;
}

export interface UnixListenerOptions {
  router: Router;
  /** At most 107 bytes. Made with mode 0600; whoever can open it is root@pam. */
  path: string;
  log: ProgressLog;
}

export interface Listener {
  /** Where it really listens; the path for a unix socket. */
  readonly address: ListenAddress | string;
  /** Open connections. */
  connections(): number;
  /** TLS only: used for new connections from now on. */
  setCertificate(certificate: ServerCertificate): void;
  /** Stops accepting, ends idle connections, waits for busy ones up to `graceMs`, then cuts them. */
  close(graceMs: number): Promise<void>;
}

/** Who comes through the local socket. */
const localCaller: Caller = { authId: 'root@pam', remoteAddress: 'unix' };

/**
 * HTTP/1.1 over TLS (1.2 and later, no ALPN: upgraded sessions bring their own HTTP/2), and on the same port plain HTTP that is
 * answered by a redirect (spec server 9). Throws ConfigError `config.listen` when the address cannot be used.
 */
export async function listenTls(options: TlsListenerOptions): Promise<Listener> {
  const { log, limits = {} } = options;
  const handshakeMs = limits.handshakeMs ?? 10_000;
  const tcpConnections = new Connections();
  const connections = new Connections();
  const http = httpServer(options.router, connections, limits, undefined);
  const redirect = createHttpServer({ headersTimeout: handshakeMs, connectionsCheckingInterval: 1000 }, redirectToTls);
  // These two never listen themselves, but it is this event that starts their header and request timeouts.
  for (const server of [http, redirect]) server.emit('listening');
  const tls = createTlsServer({ ...secureContextOptions(options), handshakeTimeout: handshakeMs }, (secure) => {
    secure.on('error', (e) => log.debug(`TLS with ${secure.remoteAddress ?? 'unknown'}: ${e.message}`));
    const socket = options.wrapSocket === undefined ? secure : wrapped(secure, options.wrapSocket);
    connections.add(socket);
    http.emit('connection', socket);
  });
  tls.on('tlsClientError', (e, secure) => {
    log.debug(`TLS handshake with ${secure.remoteAddress ?? 'unknown'}: ${e.message}`);
    secure.destroy();
  });
  const shares = new AddressShares(limits.connectionsOfOne ?? Math.ceil(mostConnections(limits) / 2));
  const tcp = createTcpServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 120_000 }, (socket) => {
    if (!shares.take(socket)) {
      log.warn(`more than ${shares.most} connections from ${socket.remoteAddress ?? 'unknown'}: one was closed`);
      return;
    }
    tcpConnections.add(socket);
    socket.on('error', (e) => log.debug(`connection from ${socket.remoteAddress ?? 'unknown'}: ${e.message}`));
    admit(socket, handshakeMs, (firstByte) => {
      // From here on the layer above knows whether it is busy.
      tcpConnections.begin(socket);
      (firstByte === 0x16 ? tls : redirect).emit('connection', socket);
    });
  });
  limitConnections(tcp, limits, log);
  const address = await bind(tcp, options.address, log);
  return {
    address,
    connections: () => tcpConnections.count,
    setCertificate: (certificate) => tls.setSecureContext(secureContextOptions({ ...options, certificate })),
    close: async (graceMs) => {
      const stopped = once(tcp, 'close');
      tcp.close();
      await Promise.all([connections.close(graceMs), tcpConnections.close(graceMs)]);
      await stopped;
      http.close();
      redirect.close();
    },
  };
}

/** The same API for the manager on this host. Throws StoreError `store.in-use` when another server listens on the path. */
export async function listenUnix(options: UnixListenerOptions): Promise<Listener> {
  const { path } = options;
  if (Buffer.byteLength(path) > 107) throw new ConfigError('config.listen', `the path of the local socket is longer than 107 bytes: ${path}`, { hint: 'Choose a shorter FARSHORE_HOME.' });
  await removeStaleSocket(path);
  const connections = new Connections();
  const server = httpServer(options.router, connections, {}, localCaller);
  server.on('connection', (socket: Socket) => connections.add(socket));
  const listening = once(server, 'listening');
  // The socket must never be open to others, not even until chmod.
  const umask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(umask);
  }
  await listening;
  await chmod(path, 0o600);
  server.on('error', (e) => options.log.error(`local socket: ${e.message}`));
  return {
    address: path,
    connections: () => connections.count,
    setCertificate: () => {},
    close: async (graceMs) => {
      const stopped = once(server, 'close');
      server.close();
      await connections.close(graceMs);
      await stopped;
    },
  };
}

/** Parses HTTP on the sockets that it is handed by `connection` events, and feeds the router. */
function httpServer(router: Router, connections: Connections, limits: ListenerLimits, trusted: Caller | undefined): HttpServer {
  const server = createHttpServer(
    {
      keepAliveTimeout: limits.keepAliveMs ?? 120_000,
      headersTimeout: limits.headersMs ?? 30_000,
      requestTimeout: limits.requestMs ?? 300_000,
      connectionsCheckingInterval: 1000,
      noDelay: true,
      shouldUpgradeCallback: (request) => hasOneHost(request) && router.wantsUpgrade(request),
    },
    (request: IncomingMessage, response: ServerResponse) => {
      if (!hasOneHost(request)) {
        response.writeHead(400, { connection: 'close', 'content-length': 0 }).end();
        return;
      }
      const end = connections.begin(request.socket);
      response.once('close', end);
      void router.handle(request, response, trusted).finally(end);
    },
  );
  // Who comes through the local socket may wait for as long as he likes.
  if (trusted === undefined) server.timeout = limits.stalledMs ?? 600_000;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const end = connections.begin(request.socket);
    void router.upgrade(request, socket, head, trusted).then((outcome) => {
      if (outcome === 'taken') {
        socket.once('close', end);
        return;
      }
      end();
      // A refused upgrade leaves a normal keep-alive connection (spec backup-protocol 2.3).
      if (outcome === 'answered' && !socket.destroyed) server.emit('connection', socket);
    });
  });
  return server;
}

/** That there is one is Node's to check; of several each proxy may believe another (RFC 9112, 3.2). */
function hasOneHost({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]!.length === 4 && rawHeaders[at]!.toLowerCase() === 'host') hosts += 1;
  return hosts < 2;
}

/** Waits for the first byte and leaves it in the socket. */
function admit(socket: Socket, limitMs: number, proceed: (firstByte: number) => void): void {
  const timer = setTimeout(() => socket.destroy(), limitMs);
  socket.once('close', () => clearTimeout(timer));
  // A half-open peer that never said a word has nothing to wait for.
  const ended = (): void => void socket.destroy();
  socket.once('end', ended);
  socket.once('readable', () => {
    clearTimeout(timer);
    const first = socket.read(1) as Buffer | null;
    if (first === null) return;
    socket.off('end', ended);
    socket.unshift(first);
    proceed(first[0]!);
  });
}

/** Gives the wrapper what HTTP and the handlers look for in a socket. */
function wrapped(secure: TLSSocket, wrapSocket: (socket: Socket) => Duplex): Duplex {
  const socket = wrapSocket(secure);
  if (socket === secure) return secure;
  socket.on('error', () => {});
  const { remoteAddress, remotePort } = secure;
  secure.on('timeout', () => socket.emit('timeout'));
  return Object.assign(socket, { remoteAddress, remotePort, setTimeout: (milliseconds: number) => void secure.setTimeout(milliseconds) });
}

function secureContextOptions({ certificate, ciphers = usualCiphers }: TlsListenerOptions): SecureContextOptions {
  return { cert: certificate.certificate, key: certificate.key, ciphers, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION };
}

function redirectToTls(request: IncomingMessage, response: ServerResponse): void {
  const { host } = request.headers;
  response.shouldKeepAlive = false;
  if (host === undefined || !/^[A-Za-z0-9.:[\]_-]+$/.test(host)) response.writeHead(400, { 'content-length': 0 });
  else response.writeHead(request.method === 'GET' || request.method === 'HEAD' ? 301 : 308, { location: `https://${host}`, 'content-length': 0 });
  response.end();
}

function mostConnections(limits: ListenerLimits): number {
  return limits.connections ?? 1024;
}

function limitConnections(server: TcpServer, limits: ListenerLimits, log: ProgressLog): void {
  server.maxConnections = mostConnections(limits);
  server.on('drop', (data) => log.warn(`more than ${server.maxConnections} connections: one from ${data?.remoteAddress ?? 'unknown'} was closed`));
}

/** Listens; `::` falls back to IPv4 on a host without IPv6. */
async function bind(server: TcpServer, address: ListenAddress, log: ProgressLog): Promise<ListenAddress> {
  try {
    await listening(server, address);
  } catch (e) {
    if (address.host === '::' && ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'].includes(errorCode(e))) {
      log.info('no IPv6 here, listening on IPv4 only');
      return bind(server, { host: '0.0.0.0', port: address.port }, log);
    }
    throw new ConfigError('config.listen', `cannot listen on ${formatListenAddress(address)}`, { cause: e, hint: listenHint(errorCode(e)) });
  }
  server.on('error', (e) => log.error(`listener ${formatListenAddress(address)}: ${e.message}`));
  const bound = server.address() as AddressInfo;
  return { host: bound.address, port: bound.port };
}

async function listening(server: TcpServer, address: ListenAddress): Promise<void> {
  const ready = once(server, 'listening');
  server.listen({ host: address.host, port: address.port, backlog: 511 });
  await ready;
}

function listenHint(code: string): string {
  if (code === 'EADDRINUSE') return 'Another program uses this port: stop it or choose another port to listen on.';
  if (code === 'EACCES') return 'Ports below 1024 need root: choose a higher one.';
  return 'Choose an address of this host, or [::] for all.';
}

/** Removes the socket that a crashed server left; refuses when somebody answers on it, or when it is something else. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((e: unknown) => {
    if (errorCode(e) === 'ENOENT') return null;
    throw new StoreError('store.read', `cannot look for ${path}`, { cause: e });
  });
  if (found === null) return;
  // Connecting to an ordinary file is refused just like connecting to a dead socket.
  if (!found.isSocket()) throw new StoreError('store.in-use', `${path} exists and is no socket`, { hint: `Move ${path} away and start again.` });
  const probe = connect({ path });
  try {
    await once(probe, 'connect');
  } catch (e) {
    if (errorCode(e) !== 'ECONNREFUSED') throw new StoreError('store.in-use', `cannot tell whether another server listens on ${path}`, { cause: e });
    await rm(path, { force: true });
    return;
  } finally {
    probe.destroy();
  }
  throw new StoreError('store.in-use', `another server is running: it answers on ${path}`, { hint: 'Stop it first, or use another FARSHORE_HOME.' });
}
