import { createHash } from 'node:crypto';
import { NetworkError } from '../base/errors.ts';
import type { Digest } from '../base/bytes.ts';
import { isBackupId, isBackupType, parseNamespace, type BackupGroup } from '../format/backup-path.ts';
import type { ListedFile, SourceSnapshot } from './ports.ts';

/** Items of listings (spec rest-api 10.2), from a remote or from a datastore of this server: both have the same shape. NetworkError `net.protocol` for anything else. */

function lie(what: string): never {
  throw new NetworkError('net.protocol', `the source's listing has ${what}`);
}

export function asList(data: unknown, what: string): unknown[] {
  if (!Array.isArray(data)) lie(`no list of ${what}`);
  return data;
}

function asRecord(item: unknown, what: string): Record<string, unknown> {
  if (typeof item !== 'object' || item === null) lie(`a ${what} that is not an object`);
  return item as Record<string, unknown>;
}

export function parseListedNamespace(item: unknown): string {
  const { ns } = asRecord(item, 'namespace');
  if (typeof ns !== 'string') lie('a namespace without name');
  return parseNamespace(ns);
}

/** Names become paths in the target, so nothing that is not a safe name gets past here. */
export function parseListedGroup(listed: unknown): BackupGroup {
  const item = asRecord(listed, 'group');
  const type = item['backup-type'];
  const id = item['backup-id'];
  if (typeof type !== 'string' || !isBackupType(type)) lie(`a group of type ${JSON.stringify(type)}`);
  if (typeof id !== 'string' || !isBackupId(id)) lie(`a group with id ${JSON.stringify(id)}`);
  return { type, id };
}

export function parseListedSnapshot(listed: unknown): SourceSnapshot {
  const item = asRecord(listed, 'snapshot');
  const group = parseListedGroup(item);
  const time = item['backup-time'];
  if (typeof time !== 'number' || !Number.isSafeInteger(time) || time < 1) lie(`a snapshot with time ${JSON.stringify(time)}`);
  const files = asList(item['files'] ?? [], 'files').map((file): ListedFile => parseListedFile(file));
  const size = item['size'];
  const verification = item['verification'];
  const state = typeof verification === 'object' && verification !== null && 'state' in verification ? verification.state : null;
  return {
    ...group,
    time,
    size: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : null,
    files,
    verifyState: state === 'ok' || state === 'failed' ? state : null,
    fingerprint: listingFingerprint(item, files),
  };
}

function parseListedFile(file: unknown): ListedFile {
  // Older servers list bare names.
  if (typeof file === 'string') return { filename: file, cryptMode: null, size: null };
  const record = asRecord(file, 'file');
  const { filename, size } = record;
  if (typeof filename !== 'string') lie('a file without name');
  const cryptMode = record['crypt-mode'];
  return {
    filename,
    cryptMode: typeof cryptMode === 'string' ? cryptMode : null,
    size: typeof size === 'number' ? size : null,
  };
}

/** Owner and protection are not transferred, so they do not count as changes. */
function listingFingerprint(item: Record<string, unknown>, files: readonly ListedFile[]): Digest {
  const content = [item['size'] ?? null, item['comment'] ?? null, item['fingerprint'] ?? null, item['verification'] ?? null, files.map((file) => [file.filename, file.cryptMode, file.size])];
  return createHash('sha256').update(JSON.stringify(content)).digest();
}
