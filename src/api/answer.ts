import type { ServerResponse } from 'node:http';
import { errorChain, FarshoreError, HttpError } from '../base/errors.ts';
import { ParameterError, type ParameterFault } from '../protocol/parameters.ts';
import { Reply } from './endpoint.ts';

/** `/api2/json` or `/api2/extjs` (spec rest-api 3.4). */
export type OutputFormat = 'json' | 'extjs';

export const jsonContentType = 'application/json;charset=UTF-8';

/** Ends the browser's session; goes with every 401 (spec rest-api 1). */
export const clearCookie = '__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax; HttpOnly; Path=/;';

/** What went wrong, as the caller may see it. */
export interface Failure {
  status: number;
  message: string;
  faults: readonly ParameterFault[];
  /** For people at a terminal; not part of the reference's answers. */
  hint: string | undefined;
  /** A programmer error: to be logged with its stack; the caller gets no details. */
  unexpected: boolean;
}

/**
 * Failure of a handler: HttpError as it is; other operating errors (of ours and of the system) are 400 with their chain, as the
 * reference's handler errors; anything else is a bug, 500.
 */
export function failureOf(e: unknown): Failure {
  const operating = e instanceof FarshoreError || (e instanceof Error && 'syscall' in e);
  if (!operating) return { status: 500, message: 'internal error, see the server log', faults: [], hint: undefined, unexpected: true };
  return {
    status: e instanceof HttpError ? e.status : 400,
    message: e instanceof HttpError ? e.message : errorChain(e),
    faults: e instanceof ParameterError ? e.faults : [],
    hint: e instanceof FarshoreError ? e.hint : undefined,
    unexpected: false,
  };
}

/** A handler's value, taken apart. */
export function replyOf(value: unknown): Reply {
  return value instanceof Reply ? value : new Reply(value);
}

/** 200 with the envelope of spec rest-api 3.1 or 3.4. */
export function sendReply(response: ServerResponse, format: OutputFormat, reply: Reply): void {
  const envelope = { data: reply.data ?? null, ...reply.siblings, ...(format === 'extjs' ? { status: 200, success: true } : {}) };
  sendText(response, 200, JSON.stringify(envelope), jsonContentType);
}

/** An error in the caller's format: the bare text, or with `extjs` HTTP 200 and an object (spec rest-api 3.2, 3.4). */
export function sendFailure(response: ServerResponse, format: OutputFormat, failure: Failure): void {
  if (format === 'json') {
    sendText(response, failure.status, failure.message, jsonContentType);
    return;
  }
  const errors = Object.fromEntries(failure.faults);
  const message = failure.faults.length > 0 ? 'parameter verification errors' : failure.message;
  sendText(response, 200, JSON.stringify({ errors, message, status: failure.status, success: false }), jsonContentType);
}

/** Any answer with a known body. Does nothing when the connection is gone. */
export function sendText(response: ServerResponse, status: number, text: string, contentType?: string): void {
  if (response.destroyed || response.writableEnded) return;
  if (response.headersSent) {
    // Half an answer is out: only cutting the connection tells the caller.
    response.destroy();
    return;
  }
  response.statusCode = status;
  if (contentType !== undefined) response.setHeader('content-type', contentType);
  if (status === 401) response.setHeader('set-cookie', clearCookie);
  const body = Buffer.from(text);
  response.setHeader('content-length', body.length);
  response.end(body);
}
