import { errorCode, FarshoreError, StoreError, toError } from '../base/errors.ts';

const codes: Readonly<Record<string, string>> = {
  ENOENT: 'store.missing',
  ENOTDIR: 'store.missing',
  ENOSPC: 'store.full',
  EDQUOT: 'store.full',
  EROFS: 'store.read-only',
  EACCES: 'store.permission',
  EPERM: 'store.permission',
  ENAMETOOLONG: 'store.name',
};

const hints: Readonly<Record<string, string>> = {
  'store.full': 'free space on the file system (prune and garbage collection) or enlarge it',
  'store.read-only': 'mount the file system for writing',
  'store.permission': 'the datastore must belong to the user that the server runs as',
};

/**
 * A failed file operation as StoreError: `store.full`, `store.read-only`, `store.permission`, `store.missing`, otherwise `store.io`.
 * What is a FarshoreError already is passed through unchanged.
 */
export function toStoreError(e: unknown, message: string): Error {
  if (e instanceof FarshoreError) return e;
  const code = codes[errorCode(e)] ?? 'store.io';
  const hint = hints[code];
  return new StoreError(code, `${message}: ${toError(e).message}`, { cause: e, ...(hint === undefined ? {} : { hint }) });
}

/** `path` as the reference prints it in messages: in double quotes, `\` and `"` escaped (spec retention 1.1). */
export function quotedPath(path: string): string {
  return `"${path.replaceAll(/[\\"]/g, String.raw`\$&`)}"`;
}
