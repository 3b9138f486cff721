import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Escaped names of this length and longer are replaced by a hash: the file system allows 255 bytes. */
const longestEscaped = 254;
const keptAtEachEnd = 80;
const plainByte = /[A-Za-z0-9_.]/;

/** Escaping of unit names for paths, byte by byte (spec formats 4.6, lock path, step 2). */
function escapeLockName(relative: string): string {
  const bytes = Buffer.from(relative.replace(/^\/+/, ''), 'utf8');
  if (bytes.byteLength === 0) return '-';
  let text = '';
  for (const [at, byte] of bytes.entries()) {
    const character = String.fromCharCode(byte);
    if (character === '/') text += '-';
    else if (plainByte.test(character) && !(character === '.' && at === 0)) text += character;
    else text += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}

/**
 * Path of the lock file of an object (spec formats 4.6): `relative` is `vm/100` (group), `vm/100/2022-05-02T08:11:33Z` (snapshot)
 * or that with `/.index.json.lck` (manifest); the namespace (`a/b`, empty = root) is not part of it. Names that would leave
 * the folder are programmer errors: the caller has parsed them.
 */
export function objectLockPath(locksRoot: string, store: string, namespace: string, relative: string): string {
  assert.match(store, /^[A-Za-z0-9_][A-Za-z0-9._-]*$/);
  const folder = namespace === '' ? join(locksRoot, store) : join(locksRoot, store, namespace.split('/').join(':'));
  const escaped = escapeLockName(relative);
  if (escaped.length <= longestEscaped) return join(folder, escaped);
  const hash = createHash('sha256').update(relative).digest('hex');
  return join(folder, 'hashed', `${escaped.slice(0, keptAtEachEnd)}...${escaped.slice(-keptAtEachEnd)}-${hash}`);
}

/** Lock of a group: `groupText` is `vm/100`. */
export function groupLockPath(locksRoot: string, store: string, namespace: string, groupText: string): string {
  return objectLockPath(locksRoot, store, namespace, groupText);
}

/** Lock of a snapshot: `snapshotText` is `vm/100/2022-05-02T08:11:33Z`. */
export function snapshotLockPath(locksRoot: string, store: string, namespace: string, snapshotText: string): string {
  return objectLockPath(locksRoot, store, namespace, snapshotText);
}

/** Lock of a snapshot's manifest. */
export function manifestLockPath(locksRoot: string, store: string, namespace: string, snapshotText: string): string {
  return objectLockPath(locksRoot, store, namespace, `${snapshotText}/.index.json.lck`);
}

/** Move journal of a datastore; the file is its own lock (spec formats 4.8). */
export function moveJournalPath(locksRoot: string, store: string): string {
  return join(locksRoot, store, 'move-journal');
}
