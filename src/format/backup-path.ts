import assert from 'node:assert/strict';
import { FormatError } from '../base/errors.ts';
import { isSafeId } from './auth-id.ts';

/** Names in the datastore tree (spec formats 4.1, 4.2). */
export type BackupType = 'vm' | 'ct' | 'host';

export interface BackupGroup {
  type: BackupType;
  id: string;
}

export interface BackupSnapshot extends BackupGroup {
  /** Seconds since the epoch, at least 1. */
  time: number;
}

/** Display order: ct, host, vm. */
export const backupTypes: readonly BackupType[] = ['ct', 'host', 'vm'];
export const maxNamespaceDepth = 7;
const maxNamespaceLength = 256;

export const manifestFileName = 'index.json.blob';
export const clientLogFileName = 'client.log.blob';
export const catalogFileName = 'catalog.pcat1.didx';
export const encryptedKeyFileName = 'rsa-encrypted.key.blob';

export type ArchiveKind = 'fixed' | 'dynamic' | 'blob';

/** Kind of an archive by the end of its server name (`.fidx`, `.didx`, `.blob`). FormatError `format.archive-name` for any other or unsafe name. */
export function archiveKind(fileName: string): ArchiveKind {
  if (isSafeId(fileName, 1, 255)) {
    if (fileName.endsWith('.fidx')) return 'fixed';
    if (fileName.endsWith('.didx')) return 'dynamic';
    if (fileName.endsWith('.blob')) return 'blob';
  }
  throw new FormatError('format.archive-name', `'${fileName.slice(0, 100)}' is not an archive name`);
}

export function isArchiveName(fileName: string): boolean {
  return isSafeId(fileName, 1, 255) && /\.(?:fidx|didx|blob)$/.test(fileName);
}

const serverSuffixes = new Map([
  ...['pxar', 'mpxar', 'ppxar', 'pcat1'].map((extension) => [extension, '.didx'] as const),
  ['img', '.fidx'] as const,
  ...['conf', 'json', 'key', 'log'].map((extension) => [extension, '.blob'] as const),
]);

/** Server name of an archive from its client name, e.g. `root.pxar` to `root.pxar.didx`; a server name is returned as is (spec formats 4.2). FormatError `format.archive-name`. */
export function serverArchiveName(clientName: string): string {
  if (isArchiveName(clientName)) return clientName;
  const suffix = isSafeId(clientName, 1, 250) ? serverSuffixes.get(clientName.slice(clientName.lastIndexOf('.') + 1)) : undefined;
  if (suffix === undefined || !clientName.includes('.')) throw new FormatError('format.archive-name', `'${clientName.slice(0, 100)}' is not an archive name`);
  return clientName + suffix;
}

export function isBackupType(text: string): text is BackupType {
  return text === 'vm' || text === 'ct' || text === 'host';
}

/** `text` as a backup type; FormatError `format.backup-type`. */
export function parseBackupType(text: string): BackupType {
  if (!isBackupType(text)) throw new FormatError('format.backup-type', `'${text.slice(0, 100)}' is not a backup type (vm, ct, host)`);
  return text;
}

export function isBackupId(text: string): boolean {
  return isSafeId(text);
}

/** Checks namespace text: components joined by `/`, empty for the root; returned unchanged. FormatError `format.namespace`. */
export function parseNamespace(text: string): string {
  if (text === '') return '';
  const fail = (why: string): never => {
    throw new FormatError('format.namespace', `'${text.slice(0, 300)}' is not a namespace: ${why}`);
  };
  if (text.length > maxNamespaceLength) fail(`longer than ${maxNamespaceLength} characters`);
  const components = text.split('/');
  if (components.length > maxNamespaceDepth) fail(`deeper than ${maxNamespaceDepth} levels`);
  for (const component of components) if (!isSafeId(component)) fail(`bad component '${component}'`);
  return text;
}

/** Components, outermost first; none for the root. */
export function namespaceComponents(ns: string): string[] {
  return ns === '' ? [] : ns.split('/');
}

/** Number of components; 0 for the root. */
export function namespaceDepth(ns: string): number {
  return namespaceComponents(ns).length;
}

/** Namespace `rest` (one component or more) below `parent`. FormatError `format.namespace` when a limit is broken. */
export function joinNamespace(parent: string, rest: string): string {
  return parseNamespace([...namespaceComponents(parent), ...namespaceComponents(rest)].join('/'));
}

/** Namespace one level up; null for the root. */
export function parentNamespace(ns: string): string | null {
  return ns === '' ? null : ns.slice(0, Math.max(0, ns.lastIndexOf('/')));
}

/** True for `anchor` itself and what is at most `levels` below it; undefined = any number. */
export function isNamespaceWithin(ns: string, anchor: string, levels?: number): boolean {
  if (ns !== anchor && anchor !== '' && !ns.startsWith(`${anchor}/`)) return false;
  return levels === undefined || namespaceDepth(ns) - namespaceDepth(anchor) <= levels;
}

/** Folder relative to the datastore: `ns/a/ns/b`; empty for the root. */
export function namespacePath(ns: string): string {
  return namespaceComponents(ns)
    .map((component) => `ns/${component}`)
    .join('/');
}

/** `2025-10-09T08:53:20Z`, the name of a snapshot's folder. `time` in seconds, years 0 to 9999. */
export function formatBackupTime(time: number): string {
  assert.ok(Number.isSafeInteger(time) && time >= -62_167_219_200 && time <= 253_402_300_799, `backup time ${time} out of range`);
  return `${new Date(time * 1000).toISOString().slice(0, 19)}Z`;
}

/** Seconds since the epoch, at least 1, of `2025-10-09T08:53:20Z`. FormatError `format.backup-time`. */
export function parseBackupTime(text: string): number {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) ? Date.parse(text) / 1000 : Number.NaN;
  // Date.parse accepts the 30th of February and 24:00:00; the way back does not give the same text then.
  if (!Number.isSafeInteger(time) || time < 1 || formatBackupTime(time) !== text) {
    throw new FormatError('format.backup-time', `'${text.slice(0, 100)}' is not a backup time`);
  }
  return time;
}

/** `vm/100`. */
export function groupText(group: BackupGroup): string {
  return `${group.type}/${group.id}`;
}

/** `vm/100/2025-10-09T09:00:00Z`. */
export function snapshotText(snapshot: BackupSnapshot): string {
  return `${groupText(snapshot)}/${formatBackupTime(snapshot.time)}`;
}

/** Group from `vm/100`. FormatError `format.group`. */
export function parseGroup(text: string): BackupGroup {
  const [type, id, ...rest] = text.split('/');
  if (type === undefined || id === undefined || rest.length > 0 || !isBackupType(type) || !isBackupId(id)) {
    throw new FormatError('format.group', `'${text.slice(0, 300)}' is not a backup group (type/id)`);
  }
  return { type, id };
}

/** Snapshot from `vm/100/2025-10-09T09:00:00Z`. FormatError `format.snapshot`. */
export function parseSnapshot(text: string): BackupSnapshot {
  const [type, id, time, ...rest] = text.split('/');
  if (type === undefined || id === undefined || time === undefined || rest.length > 0 || !isBackupType(type) || !isBackupId(id)) {
    throw new FormatError('format.snapshot', `'${text.slice(0, 300)}' is not a snapshot (type/id/time)`);
  }
  return { type, id, time: parseBackupTime(time) };
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** Folder of a group relative to the datastore: `ns/a/vm/100`. */
export function groupPath(ns: string, group: BackupGroup): string {
  return join(namespacePath(ns), groupText(group));
}

/** Folder of a snapshot relative to the datastore: `ns/a/vm/100/2025-10-09T09:00:00Z`. */
export function snapshotPath(ns: string, snapshot: BackupSnapshot): string {
  return join(namespacePath(ns), snapshotText(snapshot));
}

const maxU64 = 2n ** 64n - 1n;

function numericId(id: string): bigint | null {
  if (!/^[0-9]{1,100}$/.test(id)) return null;
  const value = BigInt(id);
  return value <= maxU64 ? value : null;
}

function order<T extends string | bigint | number>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Display order of groups (spec formats 4.1): type, then numeric ids by value before the others by bytes. Zero only for equal groups. */
export function compareGroups(a: BackupGroup, b: BackupGroup): number {
  if (a.type !== b.type) return backupTypes.indexOf(a.type) - backupTypes.indexOf(b.type);
  const [numberA, numberB] = [numericId(a.id), numericId(b.id)];
  if (numberA !== null && numberB !== null && numberA !== numberB) return order(numberA, numberB);
  if ((numberA === null) !== (numberB === null)) return numberA === null ? 1 : -1;
  return order(a.id, b.id);
}
