import { connect as connectTcp, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as startTls, createSecureContext, getCACertificates } from 'node:tls';
import type { SecureContext, TLSSocket } from 'node:tls';
import { AbortedError, errorCode } from '../base/errors.ts';
import { throwIfAborted } from '../base/async.ts';
import { openTunnel } from './http-proxy.ts';
import { CertificateError, classifyNetworkError, networkError } from './network-error.ts';
import { ThrottledSocket } from './rate-limit.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';

/** TCP connect timeout (spec sync 1.3), name resolution included; the TLS handshake gets the same again. */
export const connectTimeoutMs = 10_000;
const keepAliveIdleMs = 120_000;

export interface ConnectOptions {
  limiter?: RateLimiter | undefined;
  signal?: AbortSignal | undefined;
  /** For each of the two steps; default 10 s. */
  connectTimeoutMs?: number | undefined;
  /** PEM certificates trusted beside those of Node and of the system. */
  trusted?: readonly string[] | undefined;
}

export interface TlsConnection {
  /** Verified; nothing was sent on it yet. */
  socket: TLSSocket;
  /** SHA-256 of the remote's certificate, lower case, `:`-joined. */
  fingerprint: string;
  /** What the TLS handshake took: about one round trip, and never less. */
  handshakeMs: number;
  /** True while the rate limit, not the remote, holds the connection back. */
  heldBack(): boolean;
  /** Bytes below TLS so far. */
  wireBytes(): { read: number; written: number };
}

/**
 * TCP and TLS to a remote (spec sync 1.3, W26): a configured fingerprint pins, whatever the chain says; without one
 * the chain and the host name must be valid. The caller owns the socket.
 * Throws NetworkError (every code of NetworkErrorCode but `net.stalled`) and AbortedError.
 */
export async function connectTls(endpoint: RemoteEndpoint, options: ConnectOptions = {}): Promise<TlsConnection> {
  const tcp = await connectSocket(endpoint, options);
  return secureSocket(endpoint, tcp, options);
}

/** The TCP part of connectTls, through the endpoint's proxy where it has one. */
export async function connectSocket(endpoint: RemoteEndpoint, options: ConnectOptions = {}): Promise<Socket> {
  throwIfAborted(options.signal);
  const { host, port } = endpoint.proxy ?? endpoint;
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveIdleMs });
  const limitMs = options.connectTimeoutMs ?? connectTimeoutMs;
  await settled(options.signal, limitMs, (resolve, reject) => {
    socket.once('connect', () => {
      if (endpoint.proxy === undefined) resolve();
      else openTunnel(socket, endpoint.proxy, endpoint.authority).then(resolve, reject);
    });
    socket.once('error', (e) => reject(classifyNetworkError(e, endpoint, 'connect')));
    return () => networkError('net.timeout', `${endpoint.authority} does not answer within ${limitMs / 1000} s`);
  }).catch((e: unknown) => {
    socket.on('error', ignoreLateError);
    socket.destroy();
    throw e;
  });
  return socket;
}

/** The TLS part of connectTls; destroys `tcp` when it fails. */
export async function secureSocket(endpoint: RemoteEndpoint, tcp: Socket, options: ConnectOptions = {}): Promise<TlsConnection> {
  const startedMs = performance.now();
  const transport = options.limiter?.wrap(tcp) ?? tcp;
  const throttled = transport instanceof ThrottledSocket ? transport : undefined;
  const socket = startTls({
    socket: transport,
    // For the host name check; an IP address is checked too but never sent as server name.
    host: endpoint.host,
    ...(isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}),
    // The outcome of the chain check is looked at below: Node alone cannot prefer a pinned fingerprint to it.
    rejectUnauthorized: false,
    ...(endpoint.fingerprint === undefined || options.trusted !== undefined ? { secureContext: trustingContext(options.trusted) } : {}),
  });
  const limitMs = options.connectTimeoutMs ?? connectTimeoutMs;
  try {
    await settled(options.signal, limitMs, (resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', (e) => reject(classifyNetworkError(e, endpoint, 'tls')));
      socket.once('close', () => reject(networkError('net.reset', `${endpoint.authority} closed the connection during the TLS handshake`)));
      return () => networkError('net.timeout', `${endpoint.authority} accepts connections but does not answer the TLS handshake within ${limitMs / 1000} s`);
    });
    const handshakeMs = performance.now() - startedMs;
    const fingerprint = verifyCertificate(endpoint, socket);
    return {
      socket,
      fingerprint,
      handshakeMs,
      heldBack: () => throttled?.heldBack ?? false,
      wireBytes: () => ({ read: tcp.bytesRead, written: tcp.bytesWritten }),
    };
  } catch (e) {
    socket.on('error', ignoreLateError);
    socket.destroy();
    transport.destroy();
    throw e;
  }
}

function verifyCertificate(endpoint: RemoteEndpoint, socket: TLSSocket): string {
  const seen = socket.getPeerX509Certificate()?.fingerprint256.toLowerCase();
  if (seen === undefined) throw networkError('net.protocol', `${endpoint.authority} shows no certificate`);
  if (endpoint.fingerprint !== undefined) {
    if (seen === endpoint.fingerprint) return seen;
    throw new CertificateError('net.fingerprint', `the certificate of ${endpoint.authority} has fingerprint ${seen}, expected ${endpoint.fingerprint}`, {
      seen,
      expected: endpoint.fingerprint,
      hint: 'if the certificate was renewed on purpose, compare with `proxmox-backup-manager cert info` on the remote and set the new fingerprint',
    });
  }
  if (socket.authorized) return seen;
  throw new CertificateError('net.certificate', `the certificate of ${endpoint.authority} cannot be trusted: ${certificateProblem(socket.authorizationError)}`, {
    seen,
    hint: `compare ${seen} with \`proxmox-backup-manager cert info\` on the remote and set it as the remote's fingerprint`,
  });
}

const certificateProblems: Record<string, string> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its chain ends in an unknown self-signed certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its issuer is unknown',
  UNABLE_TO_GET_ISSUER_CERT: 'its issuer is unknown',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its issuer is unknown',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another host name',
};

/** Declared as Error, but Node sets the code as a string. */
function certificateProblem(e: unknown): string {
  const code = typeof e === 'string' ? e : errorCode(e);
  return certificateProblems[code] ?? (code === '' ? 'verification failed' : code);
}

let systemTrust: SecureContext | undefined;

/** Node's certificate authorities and the system's; made once, since it takes a while to parse them. */
function trustingContext(trusted: readonly string[] | undefined): SecureContext {
  const known = (): string[] => [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  if (trusted !== undefined) return createSecureContext({ ca: [...known(), ...trusted] });
  systemTrust ??= createSecureContext({ ca: known() });
  return systemTrust;
}

/** Waits for one of: what `start` calls, the abort, the end of `limitMs`. Leaves no timer and no listener on the signal. */
async function settled(
  signal: AbortSignal | undefined,
  limitMs: number,
  start: (resolve: () => void, reject: (e: Error) => void) => () => Error,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const timeoutError = start(resolve, reject);
      timer = setTimeout(() => reject(timeoutError()), limitMs);
      onAbort = () => reject(new AbortedError(undefined, { cause: signal?.reason }));
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}

/** A socket that has failed already may report it again; the first report was thrown. */
function ignoreLateError(): void {}
