import { NetworkError, errorCode, toError } from '../base/errors.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';

/** The part of a connection's life in which something failed. */
export type ConnectionStage = 'connect' | 'tls' | 'request' | 'session';

/** Every `code` that a connection to a remote can fail with. */
export type NetworkErrorCode =
  | 'net.name-not-found'
  | 'net.refused'
  | 'net.unreachable'
  | 'net.timeout'
  | 'net.not-tls'
  | 'net.fingerprint'
  | 'net.certificate'
  | 'net.reset'
  | 'net.stalled'
  | 'net.protocol';

/** The remote's certificate is not the one expected: `net.fingerprint` (pinned) or `net.certificate` (chain or host name, nothing pinned). */
export class CertificateError extends NetworkError {
  /** SHA-256 of the certificate that the remote showed, lower case, `:`-joined. */
  readonly seen: string;
  /** The pinned one; undefined when nothing is pinned. */
  readonly expected: string | undefined;

  constructor(code: 'net.fingerprint' | 'net.certificate', message: string, fields: { seen: string; expected?: string; hint: string }) {
    super(code, message, { hint: fields.hint });
    this.seen = fields.seen;
    this.expected = fields.expected;
  }
}

export function networkError(code: NetworkErrorCode, message: string, cause?: unknown): NetworkError {
  return new NetworkError(code, message, cause === undefined ? {} : { cause });
}

const nameCodes = new Set(['ENOTFOUND', 'ENODATA', 'ESERVFAIL', 'ENONAME', 'EBADNAME']);
const unreachableCodes = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EADDRNOTAVAIL', 'EACCES', 'EPERM', 'EINVAL']);
const resetCodes = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END', 'ERR_SOCKET_CLOSED']);
// What OpenSSL says when the first bytes of the answer are no TLS record.
const notTlsPattern = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|HTTP_REQUEST|BAD_RECORD_TYPE|RECORD_TOO_SMALL|NOT_ON_RECORD_BOUNDARY|RECORD_LAYER_FAILURE|UNSUPPORTED_PROTOCOL/;

/**
 * `e`, thrown by the platform while talking to `endpoint`, as one NetworkError; a FarshoreError NetworkError passes
 * unchanged. What has no better name is `net.protocol` in the TLS stage and later, `net.unreachable` before.
 */
export function classifyNetworkError(e: unknown, endpoint: RemoteEndpoint, stage: ConnectionStage): NetworkError {
  if (e instanceof NetworkError) return e;
  const at = endpoint.authority;
  const code = errorCode(e);
  if (nameCodes.has(code) || code.startsWith('EAI_')) return networkError('net.name-not-found', `the name '${endpoint.host}' cannot be resolved (${code})`, e);
  if (code === 'ECONNREFUSED') return networkError('net.refused', `${at} refuses the connection`, e);
  if (code === 'ETIMEDOUT' || code === 'ERR_SOCKET_CONNECTION_TIMEOUT') {
    return stage === 'connect'
      ? networkError('net.timeout', `${at} does not answer`, e)
      : networkError('net.reset', `the connection to ${at} was lost (${code})`, e);
  }
  if (resetCodes.has(code)) return networkError('net.reset', `${at} closed the connection${stage === 'tls' ? ' during the TLS handshake' : ''}`, e);
  if (unreachableCodes.has(code)) return networkError('net.unreachable', `${at} cannot be reached (${code})`, e);
  if (stage === 'tls' && notTlsPattern.test(code)) return networkError('net.not-tls', `${at} does not speak TLS`, e);
  const text = toError(e).message;
  if (stage === 'connect') return networkError('net.unreachable', `connection to ${at} failed: ${text}`, e);
  return networkError('net.protocol', stage === 'tls' ? `TLS handshake with ${at} failed: ${text}` : `${at} broke the protocol: ${text}`, e);
}
