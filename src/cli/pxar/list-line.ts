import { debugText } from '../../client/debug-text.ts';
import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../../pxar/entry-metadata.ts';

const ownerWidth = 13;
const sizeWidth = 8;

/** The path in quotes, as the reference escapes it. */
export function shortLine(path: Uint8Array): string {
  return `"${debugText(path)}"`;
}

function typeLetter(entry: ArchiveEntry): string {
  if (entry.type === 'device') return fileTypeOf(entry.metadata.mode) === fileTypes.block ? 'b' : 'c';
  return { directory: 'd', file: '-', symlink: 'l', hardlink: 'L', fifo: 'p', socket: 's' }[entry.type];
}

/** One of three triplets; `special`: the letter of its suid, sgid or sticky bit, null when that is not set. */
function triplet(bits: number, special: string | null): string {
  const runs = (bits & 1) !== 0;
  const last = special === null ? (runs ? 'x' : '-') : runs ? special : special.toUpperCase();
  return `${(bits & 4) !== 0 ? 'r' : '-'}${(bits & 2) !== 0 ? 'w' : '-'}${last}`;
}

function permissions(mode: number): string {
  const has = (bit: number, letter: string): string | null => ((mode & bit) === 0 ? null : letter);
  return triplet(mode >> 6, has(0o4000, 's')) + triplet(mode >> 3, has(0o2000, 's')) + triplet(mode, has(0o1000, 't'));
}

/** `YYYY-MM-DD HH:MM:SS` in the process's zone. */
function localTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${String(time.getFullYear()).padStart(4, '0')}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

function hasAcl({ acl }: EntryMetadata): boolean {
  return acl !== null;
}

function sizeText(entry: ArchiveEntry): string {
  if (entry.type === 'device') return `${entry.major},${entry.minor}`;
  return String(entry.type === 'file' ? entry.size : 0);
}

/** What stands behind the path: where a link leads, where the content of a split archive's file begins. */
function suffix(entry: ArchiveEntry): string {
  if (entry.type === 'symlink') return ` -> ${shortLine(entry.target)}`;
  if (entry.type === 'hardlink') return ` -> ${shortLine(entry.targetPath)}`;
  return entry.type === 'file' && entry.payload !== null ? ` ${entry.payload}` : '';
}

/** The line of `list` at level `debug` (spec client-cli 10). Of a hard link the archive keeps no metadata. */
export function longLine(path: Uint8Array, entry: ArchiveEntry): string {
  const metadata = entry.type === 'hardlink' ? null : entry.metadata;
  const mode = `${typeLetter(entry)}${permissions(metadata?.mode ?? 0)}`;
  const marks = metadata === null ? '  ' : `${hasAcl(metadata) ? '+' : ' '}${metadata.xattrs.length > 0 ? '+' : ' '}`;
  const owner = `${metadata?.uid ?? 0}/${metadata?.gid ?? 0}`.padEnd(ownerWidth);
  const seconds = metadata === null ? 0 : Number((metadata.mtimeNs - (((metadata.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n);
  return `${mode}${marks} ${owner} ${localTime(seconds)} ${sizeText(entry).padStart(sizeWidth)} ${shortLine(path)}${suffix(entry)}`;
}
