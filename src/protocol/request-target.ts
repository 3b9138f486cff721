import { HttpError } from '../base/errors.ts';

/** A request target, cut up but not yet routed (spec rest-api 1). */
export interface RequestTarget {
  /** Components as sent, without empty ones. */
  raw: readonly string[];
  /** The same, percent-decoded: what routing compares and URI parameters get. */
  components: readonly string[];
  /** `/` + raw components: what messages print. */
  path: string;
  /** After the first `?`, undecoded. */
  query: string;
}

/**
 * Cuts `target` by hand: reference clients send `//api2/json/...`, which a URL parser would take for a host name.
 * Throws HttpError 400 for a component that starts with a dot.
 */
export function parseRequestTarget(target: string): RequestTarget {
  const mark = target.indexOf('?');
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  const raw = rawPath.split('/').filter((component) => component !== '');
  if (raw.some((component) => component.startsWith('.'))) throw new HttpError(400, 'path contains illegal components');
  return {
    raw,
    components: raw.map(decodeComponent),
    path: `/${raw.join('/')}`,
    query: mark < 0 ? '' : target.slice(mark + 1),
  };
}

/** Bytes of normalised path and query: what the limit of 3072 is about. */
export function targetLength(target: RequestTarget): number {
  return Buffer.byteLength(target.path) + (target.query === '' ? 0 : Buffer.byteLength(target.query) + 1);
}

/** Percent-decoded; what is not valid UTF-8 afterwards cannot be any known component and stays as it was. */
function decodeComponent(component: string): string {
  try {
    return decodeURIComponent(component);
  } catch {
    return component;
  }
}
