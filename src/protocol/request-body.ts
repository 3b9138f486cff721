import type { TObject } from 'typebox';
import { errorChain, HttpError } from '../base/errors.ts';
import { checkJson, checkPairs, decodeForm } from './parameters.ts';

/** A parameter body must stay below this (spec rest-api 1, backup-protocol 3). */
export const parameterBodyLimit = 512 * 1024;

/**
 * Reads at most `limit - 1` bytes. Throws HttpError 400 `Request body too large`; the rest is then left unread, the caller
 * decides what becomes of it.
 */
export async function readParameterBody(body: AsyncIterable<Buffer>, limit = parameterBodyLimit): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  const iterator = body[Symbol.asyncIterator]();
  // Not `for await`: leaving its loop would destroy the stream, and with it the connection that the answer has to take.
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return Buffer.concat(parts);
    length += next.value.length;
    if (length >= limit) throw new HttpError(400, 'Request body too large');
    parts.push(next.value);
  }
}

/**
 * Parameters of a request by its content type (spec rest-api 2): none or form: body, query and URI merged; JSON: body and URI, the
 * query is ignored. Throws HttpError 400, ParameterError.
 */
export function decodeParameters(
  schema: TObject,
  contentType: string | undefined,
  body: Buffer,
  query: string,
  uri: Iterable<readonly [string, string]>,
): Record<string, unknown> {
  const type = contentType?.split(';', 1)[0]!.trim();
  if (type === 'application/json') return checkJson(schema, body.length === 0 ? {} : parseJson(textOf(body)), uri);
  if (type !== undefined && type !== 'application/x-www-form-urlencoded') throw new HttpError(400, `unsupported content type Ok(${JSON.stringify(type)})`);
  return checkPairs(schema, [...decodeForm(textOf(body)), ...decodeForm(query), ...uri]);
}

function textOf(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch (e) {
    throw new HttpError(400, 'Request body not uft8: invalid utf-8 sequence', { cause: e });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (e) {
    // The parser's text quotes the body, which may hold a password.
    throw new HttpError(400, `unable to parse the JSON body${/position (\d+)/.exec(errorChain(e))?.[0].replace(/^/, ' at ') ?? ''}`);
  }
}
