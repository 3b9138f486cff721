import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { deviceNumbers } from '../../src/sys/special-file.ts';
import { getXattr, listXattrs } from '../../src/sys/xattr.ts';

/** An entry of a restored tree as test/fixtures/expected has it. */
export interface RecordedEntry {
  path: string;
  pathHex?: string;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  mtimeNs: string;
  size?: number;
  sha256?: string;
  xattrsHex?: Record<string, string>;
  device?: [number, number];
  linkedWith?: string;
  target?: string;
}

const types: Record<number, string> = { 0o140000: 'socket', 0o120000: 'symlink', 0o100000: 'file', 0o060000: 'block', 0o040000: 'directory', 0o020000: 'char', 0o010000: 'fifo' };

/** Bytes that are no UTF-8 as `\xff`. */
function shown(path: Buffer): string {
  const text = path.toString();
  if (Buffer.from(text).equals(path)) return text;
  return [...path].map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join('');
}

function join(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, Buffer.from('/'), name]);
}

/** Every entry of the tree at `root`, itself as `.`, in the form of the recorded trees, by path. */
export function recordTree(root: string): Map<string, RecordedEntry> {
  const found = new Map<string, RecordedEntry>();
  const inodes = new Map<string, string>();
  const visit = (full: Buffer, path: Buffer): void => {
    const entry = describe(full, path, inodes);
    found.set(entry.path, entry);
    if (entry.type !== 'directory') return;
    const names = readdirSync(full, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b));
    for (const name of names) visit(join(full, name), path.equals(Buffer.from('.')) ? name : join(path, name));
  };
  visit(Buffer.from(root), Buffer.from('.'));
  return found;
}

/** The owner may read what its mode forbids, for as long as it is another. */
function content(full: Buffer, mode: number): Buffer {
  if ((mode & 0o400) !== 0) return readFileSync(full);
  chmodSync(full, 0o600);
  try {
    return readFileSync(full);
  } finally {
    chmodSync(full, mode);
  }
}

function describe(full: Buffer, path: Buffer, inodes: Map<string, string>): RecordedEntry {
  const stat = lstatSync(full, { bigint: true });
  const type = types[Number(stat.mode) & 0o170000]!;
  const entry: RecordedEntry = { path: shown(path), type, mode: `0o${(Number(stat.mode) & 0o7777).toString(8)}`, uid: Number(stat.uid), gid: Number(stat.gid), mtimeNs: stat.mtimeNs.toString() };
  if (path.some((byte) => byte >= 0x80)) entry.pathHex = path.toString('hex');
  const xattrs = listXattrs(full).map((name) => [name.toString(), getXattr(full, name)!.toString('hex')] as const);
  // The security module's own label is the host's, not the tree's.
  const kept = xattrs.filter(([name]) => !name.startsWith('security.') || name === 'security.capability' || name === 'security.NTACL');
  if (kept.length > 0) entry.xattrsHex = Object.fromEntries(kept.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  if (type === 'symlink') entry.target = readlinkSync(full);
  if (type === 'block' || type === 'char') {
    const { major, minor } = deviceNumbers(stat.rdev);
    entry.device = [major, minor];
  }
  if (type !== 'file') return entry;
  entry.size = Number(stat.size);
  entry.sha256 = createHash('sha256').update(content(full, Number(stat.mode) & 0o7777)).digest('hex');
  if (stat.nlink > 1n) {
    const inode = `${stat.dev}:${stat.ino}`;
    if (!inodes.has(inode)) inodes.set(inode, entry.path);
    entry.linkedWith = inodes.get(inode)!;
  }
  return entry;
}

/** What differs between two trees, an entry a line. */
export function treeDifferences(actual: ReadonlyMap<string, RecordedEntry>, expected: ReadonlyMap<string, RecordedEntry>): string[] {
  const lines: string[] = [];
  const text = (entry: RecordedEntry | undefined): string => (entry === undefined ? 'nothing' : JSON.stringify(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1))));
  for (const path of new Set([...actual.keys(), ...expected.keys()])) {
    const [is, should] = [text(actual.get(path)), text(expected.get(path))];
    if (is !== should) lines.push(`${JSON.stringify(path)}: is ${is}, should be ${should}`);
  }
  return lines;
}

/** Sorts attributes as `recordTree` does. */
export function recordedTree(json: Buffer): Map<string, RecordedEntry> {
  const entries = JSON.parse(json.toString()) as RecordedEntry[];
  return new Map(
    entries.map((entry) => {
      if (entry.xattrsHex !== undefined) entry.xattrsHex = Object.fromEntries(Object.entries(entry.xattrsHex).toSorted(([a], [b]) => (a < b ? -1 : 1)));
      return [entry.path, entry];
    }),
  );
}
