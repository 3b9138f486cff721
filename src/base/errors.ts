/**
 * Operating errors: what can go wrong in a correct program. Programmer errors use `node:assert`.
 * `code` is stable and may be matched; `message` is for people; context goes into `cause`.
 */
export class FarshoreError extends Error {
  readonly code: string;
  /** One sentence that says how to mend it, usually a command. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** Bytes that do not follow their format: magic, checksum, length, grammar. Codes `format.*`. */
export class FormatError extends FarshoreError {}

/** Missing, locked, unreadable or unwritable data on this host. Codes `store.*`. */
export class StoreError extends FarshoreError {}

/** The other side of a connection failed, stalled or lied. Codes `net.*`. */
export class NetworkError extends FarshoreError {}

/** A configuration file or a value in it is not acceptable. Codes `config.*`. */
export class ConfigError extends FarshoreError {}

/**
 * An HTTP answer other than 2xx: raised by API handlers (becomes the answer) and by API clients (was the answer).
 * The message is the body text (spec rest-api 3.2). Code `http.<status>`.
 */
export class HttpError extends FarshoreError {
  readonly status: number;

  constructor(status: number, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(`http.${status}`, message, options);
    this.status = status;
  }
}

/** The caller asked to stop (task abort, signal, shutdown). */
export class AbortedError extends FarshoreError {
  constructor(message = 'abort requested - aborting task', options: { cause?: unknown } = {}) {
    super('aborted', message, options);
  }
}

/** `e` as an Error, whatever was thrown. */
export function toError(e: unknown): Error {
  return e instanceof Error ? e : new Error(typeof e === 'string' ? e : JSON.stringify(e));
}

/** Messages of the whole chain, outermost first, joined with `: ` (spec server 3). A cause that the message repeats is left out. */
export function errorChain(e: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  for (let at: unknown = e; at !== undefined && at !== null && !seen.has(at); at = at instanceof Error ? at.cause : undefined) {
    seen.add(at);
    const text = toError(at).message;
    if (text !== '' && !parts.some((part) => part.endsWith(text))) parts.push(text);
  }
  return parts.join(': ');
}

/** `code` of a Node system error (`ENOENT`...) or of a FarshoreError; empty when there is none. */
export function errorCode(e: unknown): string {
  if (typeof e !== 'object' || e === null || !('code' in e)) return '';
  return typeof e.code === 'string' ? e.code : '';
}
