import { isIP, isIPv6 } from 'node:net';
import { ConfigError } from '../base/errors.ts';

export interface ListenAddress {
  /** Numeric address or host name, without brackets; `::` is every IPv4 and IPv6 address. */
  host: string;
  /** 0 = any free one. */
  port: number;
}

export const defaultListenAddress: ListenAddress = { host: '::', port: 8007 };

/** Reads `ADDR:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT`. Throws ConfigError `config.listen`. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:\s[\]/]*)):)?([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? NaN);
  const inBrackets = match?.[1];
  if (match === null || !(port <= 65_535) || (inBrackets !== undefined && !isIPv6(inBrackets))) {
    throw new ConfigError('config.listen', `'${text}' is no address to listen on`, { hint: 'Write ADDR:PORT, for IPv6 [ADDR]:PORT, for example [::]:8007 or 127.0.0.1:0.' });
  }
  const host = inBrackets ?? match[2] ?? '';
  return { host: host === '' || host === '*' ? '::' : host, port };
}

/** The address in the form that parseListenAddress reads. */
export function formatListenAddress(address: ListenAddress): string {
  return isIP(address.host) === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
