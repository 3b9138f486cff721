import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { sameMetadata, type EntryMetadata, type EntryXattr } from '../../pxar/entry-metadata.ts';

/** What of an entry may differ; `attributes`: ACLs, capabilities, flags, project. */
export type ChangedField = 'mode' | 'uid' | 'gid' | 'mtime' | 'size' | 'xattrs' | 'attributes' | 'target' | 'device' | 'content';

function sameXattrs(a: readonly EntryXattr[], b: readonly EntryXattr[]): boolean {
  const sorted = (xattrs: readonly EntryXattr[]): EntryXattr[] => xattrs.toSorted((x, y) => Buffer.compare(x.name, y.name));
  const [one, other] = [sorted(a), sorted(b)];
  return one.length === other.length && one.every(({ name, value }, i) => name.equals(other[i]!.name) && value.equals(other[i]!.value));
}

function changedMetadata(a: EntryMetadata, b: EntryMetadata): ChangedField[] {
  const fields: ChangedField[] = [];
  if (a.mode !== b.mode) fields.push('mode');
  if (a.uid !== b.uid) fields.push('uid');
  if (a.gid !== b.gid) fields.push('gid');
  if (a.mtimeNs !== b.mtimeNs) fields.push('mtime');
  if (!sameXattrs(a.xattrs, b.xattrs)) fields.push('xattrs');
  const { mode, uid, gid, mtimeNs, xattrs } = a;
  if (!sameMetadata(a, { ...b, mode, uid, gid, mtimeNs, xattrs })) fields.push('attributes');
  return fields;
}

/** Fields of two entries of the same type that differ; whether contents do is not looked at. */
export function changedFields(a: ArchiveEntry, b: ArchiveEntry): ChangedField[] {
  if (a.type === 'hardlink' || b.type === 'hardlink') return a.type === 'hardlink' && b.type === 'hardlink' && a.targetPath.equals(b.targetPath) ? [] : ['target'];
  const fields = changedMetadata(a.metadata, b.metadata);
  if (a.type === 'file' && b.type === 'file' && a.size !== b.size) fields.push('size');
  if (a.type === 'symlink' && b.type === 'symlink' && !a.target.equals(b.target)) fields.push('target');
  if (a.type === 'device' && b.type === 'device' && (a.major !== b.major || a.minor !== b.minor)) fields.push('device');
  return fields;
}
