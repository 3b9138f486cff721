import type { Readable } from 'node:stream';
import type { TObject } from 'typebox';
import { errorChain, HttpError, NetworkError } from '../base/errors.ts';
import { checkJson, checkPairs, decodeForm } from './parameters.ts';

/** A parameter body must stay below this (spec rest-api 1, backup-protocol 3). */
export const parameterBodyLimit = 512 * 1024;

/**
 * Reads at most `limit - 1` bytes. Throws HttpError 400 `Request body too large`; the rest is then left unread, the caller
 * decides what becomes of it. NetworkError `net.closed` when the client breaks off.
 */
export async function readParameterBody(body: Readable, limit = parameterBodyLimit): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    // Leaving the loop must not destroy the stream, and with it the connection that the answer has to take.
    for await (const piece of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length >= limit) throw new HttpError(400, 'Request body too large');
      parts.push(piece);
    }
  } catch (e) {
    if (e instanceof HttpError) throw e;
    throw new NetworkError('net.closed', 'the client broke off its request', { cause: e });
  }
  return Buffer.concat(parts);
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

/** Deeper than any parameter, and harmless to whatever walks over it by recursion. */
const maxNesting = 100;

function parseJson(text: string): unknown {
  if (nestsDeeper(text, maxNesting)) throw new HttpError(400, `unable to parse the JSON body: nested deeper than ${maxNesting} levels`);
  try {
    return JSON.parse(text);
  } catch (e) {
    // The parser's text quotes the body, which may hold a password.
    throw new HttpError(400, `unable to parse the JSON body${/position (\d+)/.exec(errorChain(e))?.[0].replace(/^/, ' at ') ?? ''}`);
  }
}

/** Looked at before parsing; text that is no JSON may count wrongly, the parser refuses it. */
function nestsDeeper(text: string, most: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === backslash) at += 1;
      else if (code === quote) inString = false;
    } else if (code === quote) inString = true;
    else if (code === openBracket || code === openBrace) {
      depth += 1;
      if (depth > most) return true;
    } else if (code === closeBracket || code === closeBrace) depth -= 1;
  }
  return false;
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];
