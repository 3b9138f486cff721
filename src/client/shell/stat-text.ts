import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../../pxar/entry-metadata.ts';
import { debugText } from '../debug-text.ts';

const typeNames: Readonly<Record<number, [letter: string, name: string]>> = {
  [fileTypes.directory]: ['d', 'directory'],
  [fileTypes.file]: ['-', 'file'],
  [fileTypes.symlink]: ['l', 'symlink'],
  [fileTypes.block]: ['b', 'block special file'],
  [fileTypes.character]: ['c', 'character special file'],
  [fileTypes.fifo]: ['p', 'fifo'],
  [fileTypes.socket]: ['s', 'socket'],
};

/** `rwxr-xr-x` with the bits of set-id and sticky. */
function permissions(mode: number): string {
  const special = [0o4000, 0o2000, 0o1000];
  return special
    .map((bit, triplet) => {
      const bits = (mode >> (6 - 3 * triplet)) & 7;
      const isSet = (mode & bit) !== 0;
      const letter = triplet === 2 ? 't' : 's';
      const execute = (bits & 1) !== 0 ? (isSet ? letter : 'x') : isSet ? letter.toUpperCase() : '-';
      return `${(bits & 4) !== 0 ? 'r' : '-'}${(bits & 2) !== 0 ? 'w' : '-'}${execute}`;
    })
    .join('');
}

function timeText(mtimeNs: bigint, timeZone: string | undefined): string {
  const seconds = mtimeNs / 1_000_000_000n - (mtimeNs % 1_000_000_000n < 0n ? 1n : 0n);
  const milliseconds = Number(seconds) * 1000;
  // What no calendar has is shown as the number that it is.
  if (Math.abs(milliseconds) > 8.64e15) return `${seconds}`;
  return new Intl.DateTimeFormat('sv-SE', { ...(timeZone === undefined ? {} : { timeZone }), dateStyle: 'short', timeStyle: 'medium' }).format(milliseconds);
}

export interface StatSubject {
  entry: Exclude<ArchiveEntry, { type: 'hardlink' }>;
  /** From the root of the archive. */
  path: Buffer;
  /** Of a link. */
  target: Buffer | null;
}

function sizeText(entry: StatSubject['entry']): string {
  if (entry.type === 'device') return `${entry.major},${entry.minor}`;
  if (entry.type === 'symlink') return String(entry.target.length);
  return String(entry.type === 'file' ? entry.size : 0);
}

function flagsText({ acl, xattrs, fileCapabilities }: EntryMetadata): string {
  return `${acl === null ? ' ' : '+'}${xattrs.length > 0 || fileCapabilities !== null ? '+' : ' '}`;
}

/** What the shell's `stat` says (spec client-cli 6). */
export function statText({ entry, path, target }: StatSubject, timeZone: string | undefined): string {
  const { metadata } = entry;
  const [letter, name] = typeNames[fileTypeOf(metadata.mode)] ?? ['?', 'unknown'];
  const octal = (metadata.mode & 0o7777).toString(8);
  return [
    `  File: ${debugText(path)}${target === null ? '' : ` -> "${debugText(target)}"`}`,
    `  Size: ${sizeText(entry).padEnd(13)} Type: ${name}`,
    `Access: (${octal}/${letter}${permissions(metadata.mode)}${flagsText(metadata)})  Uid: ${String(metadata.uid).padEnd(5)} Gid: ${String(metadata.gid).padEnd(5)}`,
    `Modify: ${timeText(metadata.mtimeNs, timeZone)}`,
    '',
  ].join('\n');
}
