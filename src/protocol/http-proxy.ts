import type { Socket } from 'node:net';
import { ConfigError } from '../base/errors.ts';
import { networkError } from './network-error.ts';

/** A proxy that opens tunnels (HTTP CONNECT). */
export interface HttpProxy {
  /** Without brackets. */
  host: string;
  port: number;
  /** Value of `Proxy-Authorization`; null: none. A secret. */
  authorization: string | null;
}

const defaultProxyPort = 1080;
const maxHeadLength = 16 * 1024;

/** From `ALL_PROXY`: `[http://][user:pass@]host[:port]` (spec client-cli 2.3). ConfigError `config.proxy`, which does not repeat the text: it may hold a password. */
export function parseHttpProxy(text: string): HttpProxy {
  const match = /^(?:http:\/\/)?(?:([^@/\s]*)@)?(\[[0-9a-fA-F:.]+\]|[^@:/?#\s[\]]+)(?::([0-9]{1,5}))?\/?$/.exec(text);
  const port = match?.[3] === undefined ? defaultProxyPort : Number(match[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new ConfigError('config.proxy', 'the proxy is not understood', { hint: 'set ALL_PROXY to [http://][user:password@]host[:port], or unset it' });
  }
  const [, user, host] = match;
  return { host: host!.replace(/^\[|\]$/g, ''), port, authorization: user === undefined ? null : `Basic ${Buffer.from(decodeURIComponent(user)).toString('base64')}` };
}

/**
 * Asks the proxy on `socket`, which is connected to it, for a tunnel to `authority`. What the other side sends first is left in the socket. Throws NetworkError `net.protocol` when the proxy
 * refuses or says something else, `net.reset` when it hangs up.
 */
export async function openTunnel(socket: Socket, proxy: HttpProxy, authority: string): Promise<void> {
  const authorization = proxy.authorization === null ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`);
  const shown = `proxy ${proxy.host}:${proxy.port}`;
  let head = Buffer.alloc(0);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const take = (): void => {
    for (let bytes = socket.read() as Buffer | null; bytes !== null; bytes = socket.read() as Buffer | null) {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) {
        if (head.length > maxHeadLength) reject(networkError('net.protocol', `${shown} does not answer as an HTTP proxy`));
        continue;
      }
      const line = head.toString('latin1', 0, head.indexOf('\r\n'));
      const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1];
      if (status === undefined) reject(networkError('net.protocol', `${shown} does not answer as an HTTP proxy`));
      else if (!status.startsWith('2')) reject(networkError('net.protocol', `${shown} opens no tunnel to ${authority}: ${line.slice(9, 200)}`));
      else {
        const rest = head.subarray(end + 4);
        if (rest.length > 0) socket.unshift(rest);
        resolve();
      }
      return;
    }
  };
  const failed = (): void => reject(networkError('net.reset', `${shown} closed the connection`));
  socket.on('readable', take);
  socket.once('end', failed);
  socket.once('close', failed);
  try {
    await promise;
  } finally {
    socket.off('readable', take);
    socket.off('end', failed);
    socket.off('close', failed);
  }
}
