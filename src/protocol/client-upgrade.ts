import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { AbortedError, FarshoreError, HttpError, NetworkError } from '../base/errors.ts';
import { answerText, maxAnswerTextBytes } from './answer-text.ts';
import { classifyNetworkError, networkError } from './network-error.ts';
import { encodeQuery } from './query.ts';
import type { QueryParameters } from './query.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import type { AuthHeaders } from './remote-login.ts';
import { connectTls } from './tls-connection.ts';
import type { ConnectOptions, TlsConnection } from './tls-connection.ts';
import { defaultRequestTimeoutMs, userAgent } from './rest-client.ts';

export interface UpgradeRequest {
  /** `backup` or `reader`. */
  path: string;
  /** Value of the `Upgrade` header, e.g. `proxmox-backup-reader-protocol-v1`. */
  protocol: string;
  parameters: QueryParameters;
  authHeaders: AuthHeaders;
  /** For the answer; default 2 min (spec sync 1.3). */
  timeoutMs?: number | undefined;
}

/**
 * Connection, `GET` with `Upgrade` and the 101 answer (spec backup-protocol 2). Bytes that follow the answer's
 * blank line are put back into the socket. Throws HttpError for another status, NetworkError, AbortedError.
 *
 * `idle` is a connection that was opened before and has nothing under way; if it turns out to be dead, a new one takes its place.
 */
export async function openUpgraded(endpoint: RemoteEndpoint, upgrade: UpgradeRequest, options: ConnectOptions, idle?: TlsConnection): Promise<TlsConnection> {
  if (idle !== undefined) {
    try {
      return await upgraded(endpoint, idle, upgrade, options.signal);
    } catch (e) {
      if (!(e instanceof NetworkError) || e.code !== 'net.reset') throw e;
    }
  }
  return upgraded(endpoint, await connectTls(endpoint, options), upgrade, options.signal);
}

async function upgraded(endpoint: RemoteEndpoint, connection: TlsConnection, upgrade: UpgradeRequest, signal: AbortSignal | undefined): Promise<TlsConnection> {
  try {
    await upgradeSocket(endpoint, connection.socket, upgrade, signal);
    return connection;
  } catch (e) {
    connection.socket.destroy();
    throw e;
  }
}

async function upgradeSocket(endpoint: RemoteEndpoint, socket: TLSSocket, upgrade: UpgradeRequest, signal: AbortSignal | undefined): Promise<void> {
  const at = endpoint.authority;
  const timeoutMs = upgrade.timeoutMs ?? defaultRequestTimeoutMs;
  const request = httpRequest({
    createConnection: () => socket,
    method: 'GET',
    path: `/api2/json/${upgrade.path}?${encodeQuery(upgrade.parameters)}`,
    headers: { host: at, 'user-agent': userAgent, ...upgrade.authHeaders, connection: 'upgrade', upgrade: upgrade.protocol },
  });
  let reason: FarshoreError | undefined;
  const stop = (e: FarshoreError): void => {
    reason ??= e;
    request.destroy(e);
  };
  const onAbort = (): void => stop(new AbortedError(undefined, { cause: signal?.reason }));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  const timer = setTimeout(() => stop(networkError('net.timeout', `${at} does not answer within ${timeoutMs / 1000} s`)), timeoutMs);
  const sent = new Promise<void>((resolve) => {
    request.once('finish', resolve);
    socket.once('close', () => resolve());
  });
  try {
    const refused = await new Promise<IncomingMessage | undefined>((resolve, reject) => {
      request.on('upgrade', (response, _socket, head) => {
        if (response.headers.upgrade !== upgrade.protocol) {
          reject(networkError('net.protocol', `${at} switched to another protocol: ${response.headers.upgrade ?? 'none named'}`));
          return;
        }
        if (head.length > 0) socket.unshift(head);
        resolve(undefined);
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end();
    });
    if (refused === undefined) {
      // Below a rate limit the answer may be here before the request's own write has been reported as done. A session that begins to write
      // then ends the whole process: an assertion in Node's TLS that nothing can catch.
      await sent;
      return;
    }
    const parts = await readStart(refused);
    const status = refused.statusCode ?? 0;
    if (status >= 200 && status < 300) throw networkError('net.protocol', `${at} did not switch protocols (status ${status})`);
    throw new HttpError(status, answerText(status, parts));
  } catch (e) {
    if (reason !== undefined) throw reason;
    throw e instanceof FarshoreError ? e : classifyNetworkError(e, endpoint, 'request');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

async function readStart(response: IncomingMessage): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    total += part.length;
    if (total >= maxAnswerTextBytes) break;
  }
  return parts;
}
