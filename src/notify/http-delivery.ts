import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, getCACertificates } from 'node:tls';
import { errorCode, FormatError, toError } from '../base/errors.ts';
import type { GotifyRecord, WebhookRecord } from '../config/notification-config.ts';
import { openTunnel, type HttpProxy } from '../protocol/http-proxy.ts';
import { deliveryError } from './delivery-error.ts';
import { decodeBase64, namedValueOf } from './entities.ts';
import type { Severity } from './matching.ts';
import type { Message } from './message.ts';
import { renderTemplate } from './template.ts';
import { webhookHelpers } from './template-helpers.ts';

/** Gotify and webhooks (spec server 14.3). Redirects are not followed; of an answer only the status counts. */

export interface HttpRequest {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

export interface HttpLine {
  proxy: HttpProxy | undefined;
  limitMs: number;
  userAgent: string;
  /** PEM certificates trusted in addition. */
  trusted?: readonly string[] | undefined;
}

const priorities: Readonly<Record<Severity, number>> = { info: 1, notice: 3, warning: 5, error: 9, unknown: 3 };

export function gotifyRequest({ server }: Pick<GotifyRecord, 'server'>, token: string, { title, text, severity }: Message): HttpRequest {
  return {
    method: 'POST',
    url: `${server.replace(/\/+$/, '')}/message`,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, 'x-gotify-key': token },
    body: JSON.stringify({ extras: { 'client::display': { contentType: 'text/markdown' } }, message: `\`\`\`\n${text}\n\`\`\``, priority: priorities[severity], title }),
  };
}

/** URL, headers and body are templates. `secrets`: property strings with values. */
export function webhookRequest(hook: Pick<WebhookRecord, 'url' | 'method' | 'header' | 'body'>, secrets: readonly string[], message: Message): HttpRequest {
  const data = {
    title: message.title,
    message: message.text,
    severity: message.severity,
    timestamp: message.time,
    fields: message.fields,
    secrets: Object.fromEntries(secrets.map(namedValueOf).map(({ name, value = '' }) => [name, decoded(value, `secret '${name}'`)])),
  };
  const render = (source: string, what: string): string => {
    try {
      return renderTemplate(source, data, { helpers: webhookHelpers });
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      throw deliveryError(`failed to render webhook ${what}: ${e.message}`, { isTemporary: false });
    }
  };
  const headers = (hook.header ?? []).map(namedValueOf).map(({ name, value = '' }) => [name.toLowerCase(), render(decoded(value, `header '${name}'`), 'header')] as const);
  return {
    method: hook.method.toUpperCase(),
    url: render(hook.url, 'url'),
    headers: Object.fromEntries(headers),
    body: hook.body === undefined ? '' : render(decoded(hook.body, 'body'), 'body'),
  };
}

function decoded(text: string, what: string): string {
  const value = decodeBase64(text);
  if (value === null) throw deliveryError(`${what} is not valid base64`, { isTemporary: false });
  return value;
}

/** What Node and the host's administrator trust, and `more`. */
export function trustedCertificates(more: readonly string[] | undefined): string[] {
  return [...getCACertificates('default'), ...getCACertificates('system'), ...(more ?? [])];
}

/** The socket for a request through a proxy: a tunnel, in TLS where the URL says so. */
async function tunnel(proxy: HttpProxy, url: URL, ca: string[], signal: AbortSignal): Promise<Socket> {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const socket = connectTcp({ host: proxy.host, port: proxy.port, signal });
  const connected = Promise.withResolvers<void>();
  socket.once('connect', connected.resolve);
  socket.once('error', connected.reject);
  await connected.promise;
  await openTunnel(socket, proxy, `${url.hostname}:${port}`);
  if (url.protocol === 'http:') return socket;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const secure = connectTls({ socket, host, servername: /^[0-9.:]+$/.test(host) ? '' : host, ca });
  const secured = Promise.withResolvers<void>();
  secure.once('secureConnect', secured.resolve);
  secure.once('error', secured.reject);
  await secured.promise;
  return secure;
}

/** Resolves when the other side said 2xx. NetworkError `net.delivery…`, whose text holds neither URL nor headers: secrets may be in them. */
export async function sendByHttp(wanted: HttpRequest, line: HttpLine): Promise<void> {
  let url: URL;
  try {
    url = new URL(wanted.url);
    if (!/^https?:$/.test(url.protocol)) throw new TypeError('not http');
  } catch {
    throw deliveryError('failed to build http request: the URL is not valid', { isTemporary: false });
  }
  const signal = AbortSignal.timeout(line.limitMs);
  let status: number;
  try {
    status = await exchange(wanted, url, line, signal);
  } catch (e) {
    if (signal.aborted) throw deliveryError(`no answer within ${line.limitMs / 1000} s`, { isTemporary: true });
    if (errorCode(e).startsWith('ERR_INVALID')) throw deliveryError('failed to build http request: invalid header', { isTemporary: false });
    // Node adds advice for who started it.
    throw deliveryError(toError(e).message.replace(/; if the root CA .*$/, ''), { isTemporary: true });
  }
  if (status < 200 || status > 299) throw deliveryError(`the server answered with status ${status}`, { isTemporary: status === 429 || status > 499 });
}

async function exchange({ method, headers, body }: HttpRequest, url: URL, line: HttpLine, signal: AbortSignal): Promise<number> {
  const ca = trustedCertificates(line.trusted);
  const socket = line.proxy === undefined ? undefined : await tunnel(line.proxy, url, ca, signal);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
    method,
    headers: { 'user-agent': line.userAgent, accept: '*/*', ...headers, 'content-length': String(Buffer.byteLength(body)) },
    signal,
    agent: false,
    ca,
    ...(socket === undefined ? {} : { createConnection: () => socket }),
  });
  request.once('error', reject);
  request.once('response', (response) => {
    // The status is all that counts: the rest is not waited for.
    response.on('error', () => {});
    resolve(response.statusCode ?? 0);
    response.destroy();
  });
  request.end(body);
  return promise;
}
