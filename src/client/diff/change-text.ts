import { typeLetter } from '../../archive/archive-listing.ts';
import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { sortedJson } from '../../terminal/output.ts';
import { debugText } from '../debug-text.ts';
import type { ChangedField } from './entry-fields.ts';
import type { DifferingRange } from './image-diff.ts';
import type { TreeChange } from './tree-diff.ts';

const letters = { added: 'A', removed: 'D', changed: 'M' } as const;
const permissionBits = 0o7777;

function isoTime(nanoseconds: bigint): string {
  const milliseconds = Number(nanoseconds / 1_000_000n);
  return Math.abs(milliseconds) > 8.64e15 ? `${nanoseconds}ns` : new Date(milliseconds).toISOString();
}

/** A line of text: letter, type, owner, group, mode, size, time, path; `*` before what changed, and the names of it behind the path. */
export function changeLine(change: TreeChange): string {
  const entry = change.change === 'changed' ? change.after : change.entry;
  const fields = change.change === 'changed' ? change.fields : [];
  const marked = (field: ChangedField, text: string): string => (fields.includes(field) ? `*${text}` : ` ${text}`);
  const metadata = entry.type === 'hardlink' ? null : entry.metadata;
  const columns = [
    marked('uid', String(metadata?.uid ?? '-')).padEnd(6),
    marked('gid', String(metadata?.gid ?? '-')).padEnd(6),
    marked('mode', metadata === null ? '-' : (metadata.mode & permissionBits).toString(8).padStart(4, '0')).padEnd(5),
    marked('size', entry.type === 'file' ? String(entry.size) : '-').padStart(13),
    marked('mtime', metadata === null ? '-' : isoTime(metadata.mtimeNs)).padEnd(25),
  ];
  const notes = change.change === 'changed' ? ` (${[...change.fields, ...(change.content === 'unknown' ? ['content not compared'] : [])].join(', ')})` : '';
  return `${letters[change.change]} ${typeLetter(entry)} ${columns.join(' ')} "/${debugText(change.path)}"${notes}`;
}

function entryData(entry: ArchiveEntry): Record<string, unknown> {
  const type = typeLetter(entry);
  if (entry.type === 'hardlink') return { type, target: entry.targetPath.toString() };
  const { mode, uid, gid, mtimeNs } = entry.metadata;
  return {
    type,
    mode,
    uid,
    gid,
    mtime: isoTime(mtimeNs),
    ...(entry.type === 'file' ? { size: entry.size } : {}),
    ...(entry.type === 'symlink' ? { target: entry.target.toString() } : {}),
    ...(entry.type === 'device' ? { device: [entry.major, entry.minor] } : {}),
  };
}

/** The same as data; `filepath`: base64 of the path, which need not be text. */
export function changeData(change: TreeChange): Record<string, unknown> {
  const path = Buffer.concat([Buffer.from('/'), change.path]);
  const named = { change: change.change, path: path.toString(), filepath: path.toString('base64') };
  if (change.change !== 'changed') return { ...named, [change.change === 'added' ? 'after' : 'before']: entryData(change.entry) };
  return { ...named, before: entryData(change.before), after: entryData(change.after), fields: change.fields, content: change.content };
}

export function rangeLine({ offset, length }: DifferingRange): string {
  return `M ${offset} ${length}`;
}

/** A JSON array whose elements are written as they come: compact, or with an element's lines indented. */
export class JsonArray {
  readonly #write: (text: string) => void;
  readonly #isPretty: boolean;
  #count = 0;

  constructor(write: (text: string) => void, isPretty: boolean) {
    this.#write = write;
    this.#isPretty = isPretty;
  }

  add(value: unknown): void {
    const start = this.#count === 0 ? '[' : ',';
    this.#count += 1;
    this.#write(this.#isPretty ? `${start}\n  ${sortedJson(value, true, '  ')}` : `${start}${sortedJson(value, false)}`);
  }

  end(): void {
    this.#write(this.#count === 0 ? '[]\n' : this.#isPretty ? '\n]\n' : ']\n');
  }
}
