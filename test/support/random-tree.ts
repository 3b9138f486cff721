import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { setFileTimes } from '../../src/sys/file-times.ts';
import { getXattr, listXattrs, setXattr } from '../../src/sys/xattr.ts';

const MiB = 1024 * 1024;

/** Numbers and bytes that depend on nothing but the seed. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 bits (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 to `bound` - 1. */
  below(bound: number): number {
    return this.next() % bound;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  /** Bytes that do not compress. */
  noise(size: number): Buffer {
    const out = Buffer.alloc(size);
    const words = new Uint32Array(out.buffer, out.byteOffset, size >>> 2);
    for (let i = 0; i < words.length; i += 1) words[i] = this.next();
    for (let i = words.length * 4; i < size; i += 1) out[i] = this.next() & 0xff;
    return out;
  }

  /** Bytes that compress well. */
  text(size: number): Buffer {
    const words = Array.from({ length: 64 }, () => this.noise(3 + this.below(6)).toString('base64url'));
    const parts: string[] = [];
    for (let length = 0; length < size; ) {
      const word = `${this.pick(words)}${this.below(12) === 0 ? '\n' : ' '}`;
      parts.push(word);
      length += word.length;
    }
    return Buffer.from(parts.join('')).subarray(0, size);
  }
}

/** The seed of this run: `FARSHORE_SEED` to see a failure again, otherwise a new one. Tests name it in what they report. */
export function testSeed(): number {
  const given = process.env['FARSHORE_SEED'];
  return given === undefined ? Date.now() % 2 ** 31 : Number(given);
}

export interface RandomTreeOptions {
  /** Bytes of all files together, about. Default 6 MiB. */
  size?: number;
  /** Files besides the special ones. Default 60. */
  files?: number;
}

/** Entries that every tree has besides the random ones: what archives are known to trip over. */
function writeSpecials(root: string, random: SeededRandom): void {
  mkdirSync(`${root}/empty folder`);
  writeFileSync(`${root}/empty`, '');
  writeFileSync(`${root}/größer.txt`, random.text(1000));
  writeFileSync(Buffer.concat([Buffer.from(`${root}/not-utf8-`), Buffer.from([0xff, 0xfe])]), random.text(10));
  writeFileSync(`${root}/set-id`, random.noise(100));
  chmodSync(`${root}/set-id`, 0o6755);
  symlinkSync('../nowhere/at all', `${root}/dangling`);
  linkSync(`${root}/set-id`, `${root}/set-id.link`);
  execFileSync('mkfifo', [`${root}/fifo`]);
  setXattr(`${root}/set-id`, 'user.farshore', random.noise(40));
  if (process.getuid?.() === 0) chownSync(`${root}/empty`, 12_345, 54_321);
  let deep = `${root}/deep`;
  for (let i = 0; i < 12; i += 1) {
    mkdirSync(deep);
    deep = `${deep}/${'d'.repeat(1 + random.below(20))}`;
  }
}

/** Fills the existing empty folder `root`: folders, files (some alike, some larger than a chunk), links, a FIFO, modes, attributes, times. */
export function writeRandomTree(root: string, seed: number, options: RandomTreeOptions = {}): void {
  const random = new SeededRandom(seed);
  const files = options.files ?? 60;
  const size = options.size ?? 6 * MiB;
  writeSpecials(root, random);
  const folders = [root];
  for (let i = 0; i < files / 6; i += 1) {
    const folder = `${random.pick(folders)}/dir-${i}`;
    mkdirSync(folder, { mode: 0o700 + random.below(0o100) });
    folders.push(folder);
  }
  const alike = random.noise(64 * 1024);
  let left = size;
  for (let i = 0; i < files; i += 1) {
    const wanted = i === 0 ? size >>> 1 : Math.min(left, random.below(Math.ceil((4 * size) / files)));
    left -= wanted;
    const content = random.below(5) === 0 ? alike : random.below(2) === 0 ? random.noise(wanted) : random.text(wanted);
    writeFileSync(`${random.pick(folders)}/file-${i}`, content, { mode: 0o600 + random.below(0o200) });
  }
  setTimes(root, random);
}

/** Changes some of a tree: one file grows, one is new, one is gone from its place and stands elsewhere. */
export function changeRandomTree(root: string, seed: number): void {
  const random = new SeededRandom(seed);
  writeFileSync(`${root}/empty`, random.text(5000));
  writeFileSync(`${root}/new-${random.below(1000)}`, random.noise(300_000));
  writeFileSync(`${root}/größer.txt`, Buffer.concat([readFileSync(`${root}/größer.txt`), random.text(2000)]));
}

/** Depth first, since making an entry changes its folder's time. Seconds and nanoseconds, before the epoch too. */
function setTimes(path: string, random: SeededRandom): void {
  for (const name of sortedNames(path)) {
    const entry = joinBytes(path, name);
    const stat = lstatSync(entry);
    if (stat.isDirectory()) setTimes(entry.toString(), random);
    else setFileTimes(entry, { atime: 'keep', mtime: randomTime(random) });
  }
  setFileTimes(path, { atime: 'keep', mtime: randomTime(random) });
}

function randomTime(random: SeededRandom): bigint {
  const seconds = BigInt(random.below(2 ** 31)) - (random.below(10) === 0 ? 1_000_000_000n : 0n);
  return seconds * 1_000_000_000n + BigInt(random.below(1_000_000_000));
}

function sortedNames(path: string | Buffer): Buffer[] {
  return readdirSync(path, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b));
}

function joinBytes(folder: string | Buffer, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(folder), Buffer.from('/'), name]);
}

/** Everything that a backup keeps of a tree, an entry a line, to compare two of them: type, mode, owner, mtime, content, links, attributes. */
export function describeTree(root: string): string[] {
  const lines: string[] = [];
  const inodes = new Map<string, string>();
  describe(Buffer.from(root), '.', lines, inodes);
  return lines;
}

function describe(path: Buffer, shown: string, lines: string[], inodes: Map<string, string>): void {
  const stat = lstatSync(path, { bigint: true });
  const facts = [shown, stat.mode.toString(8), `${stat.uid}:${stat.gid}`, stat.mtimeNs.toString()];
  for (const name of listXattrs(path)) {
    // The security module's own label is the file system's, not the tree's.
    if (name.toString().startsWith('security.')) continue;
    facts.push(`${name.toString()}=${getXattr(path, name)!.toString('hex')}`);
  }
  if (stat.isSymbolicLink()) facts.push(`-> ${readlinkSync(path)}`);
  if (stat.isFile()) {
    const inode = `${stat.dev}:${stat.ino}`;
    facts.push(`${stat.size} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`);
    if (stat.nlink > 1n) {
      facts.push(`= ${inodes.get(inode) ?? shown}`);
      inodes.set(inode, inodes.get(inode) ?? shown);
    }
  }
  lines.push(facts.join(' | '));
  if (stat.isDirectory()) for (const name of sortedNames(path)) describe(joinBytes(path, name), `${shown}/${name.toString('latin1')}`, lines, inodes);
}

/** A disk image of whole 4 MiB blocks and a rest: zeros, noise, text, and blocks that are alike. */
export function randomImage(seed: number, blocks: number, rest: number): Buffer {
  const random = new SeededRandom(seed);
  const alike = random.noise(4 * MiB);
  const parts: Buffer[] = [];
  for (let i = 0; i < blocks; i += 1) {
    const kind = i < 4 ? i : random.below(4);
    parts.push([Buffer.alloc(4 * MiB), alike, random.noise(4 * MiB), random.text(4 * MiB)][kind]!);
  }
  parts.push(random.noise(rest));
  return Buffer.concat(parts);
}

/** The image with a few bytes changed in some of its blocks. */
export function changedImage(image: Buffer, seed: number): Buffer {
  const random = new SeededRandom(seed);
  const changed = Buffer.from(image);
  for (let i = 0; i < 3; i += 1) random.noise(4096).copy(changed, random.below(image.length - 4096));
  return changed;
}
