import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { inspect } from 'node:util';
import { ConfigError } from '../base/errors.ts';
import type { HttpProxy } from './http-proxy.ts';

/** Port when a remote entry names none (spec sync 1.1). */
export const defaultRemotePort = 8007;

export interface RemoteEndpointFields {
  /** DNS name or IP address; IPv6 with or without brackets. */
  host: string;
  /** Default 8007. */
  port?: number | undefined;
  /** `user@realm` or `user@realm!token`. */
  authId: string;
  /** Password of the user or secret of the token. */
  secret: string;
  /** SHA-256 of the certificate, 32 hex pairs joined by `:`, either case. When given, it pins. */
  fingerprint?: string | undefined;
  /** Connections go through it. */
  proxy?: HttpProxy | undefined;
}

const fingerprintPattern = /^[0-9a-f]{2}(?::[0-9a-f]{2}){31}$/;

/** Fingerprint in lower case; ConfigError `config.fingerprint` when it is not 32 hex pairs joined by `:`. */
export function parseFingerprint(text: string): string {
  const lower = text.trim().toLowerCase();
  if (!fingerprintPattern.test(lower)) throw new ConfigError('config.fingerprint', `fingerprint '${text}' is not 32 hex pairs joined by ':'`);
  return lower;
}

/**
 * Where a remote is and who we are there (spec sync 1.1, 1.3). A class, so that no other object can stand in for it:
 * printing, logging or serialising it never shows the secret.
 */
export class RemoteEndpoint {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly authId: string;
  /** Lower case. */
  readonly fingerprint: string | undefined;
  readonly #proxy: HttpProxy | undefined;
  readonly #secret: string;

  /** ConfigError `config.fingerprint`, `config.host` or `config.secret` for values that no connection can use. */
  constructor(fields: RemoteEndpointFields) {
    const host = fields.host.startsWith('[') && fields.host.endsWith(']') ? fields.host.slice(1, -1) : fields.host;
    if (host === '' || /[\s/?#@\\]/.test(host) || (host.includes(':') && !isIPv6(host))) {
      throw new ConfigError('config.host', `'${fields.host}' is not a host name or an IP address`);
    }
    const port = fields.port ?? defaultRemotePort;
    assert.ok(Number.isInteger(port) && port > 0 && port < 65_536, `port ${port}`);
    // eslint-disable-next-line no-control-regex
    if (/[\u0000-\u001f\u007f]/.test(fields.secret)) throw new ConfigError('config.secret', 'the secret contains control characters');
    this.host = host;
    this.port = port;
    this.authId = fields.authId;
    this.fingerprint = fields.fingerprint === undefined ? undefined : parseFingerprint(fields.fingerprint);
    this.#secret = fields.secret;
    this.#proxy = fields.proxy;
  }

  /** Its credentials are not shown with the endpoint. */
  get proxy(): HttpProxy | undefined {
    return this.#proxy;
  }

  get secret(): string {
    return this.#secret;
  }

  /** True for an API token (`user@realm!token`), false for a user with a password. */
  get isToken(): boolean {
    return this.authId.lastIndexOf('!') > this.authId.lastIndexOf('@');
  }

  /** `host:port`, IPv6 in brackets: for the Host header and for messages. */
  get authority(): string {
    return `${isIPv6(this.host) ? `[${this.host}]` : this.host}:${this.port}`;
  }

  /** `authId@host:port`. */
  toString(): string {
    return `${this.authId}@${this.authority}`;
  }

  toJSON(): Record<string, unknown> {
    const shown: Record<string, unknown> = { host: this.host, port: this.port, authId: this.authId, secret: '(hidden)' };
    if (this.fingerprint !== undefined) shown['fingerprint'] = this.fingerprint;
    return shown;
  }

  [inspect.custom](): string {
    return `RemoteEndpoint ${JSON.stringify(this.toJSON())}`;
  }
}
