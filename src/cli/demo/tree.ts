import { createHash } from 'node:crypto';
import { link, lstat, mkdir, readFile, readdir, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A small directory tree with the usual kinds of entries. */
export async function makeTree(folder: string): Promise<void> {
  await mkdir(join(folder, 'etc', 'empty'), { recursive: true });
  await mkdir(join(folder, 'srv'), { mode: 0o750 });
  await writeFile(join(folder, 'etc', 'hosts'), '127.0.0.1 localhost\n', { mode: 0o644 });
  await writeFile(join(folder, 'etc', 'secret'), 'do not tell\n', { mode: 0o600 });
  await symlink('hosts', join(folder, 'etc', 'alias'));
  await link(join(folder, 'etc', 'hosts'), join(folder, 'etc', 'hosts-too'));
  await writeFile(join(folder, 'srv', 'grün und leer'), '');
  await writeFile(join(folder, 'srv', 'data.bin'), noise('data', 6 * 1024 * 1024));
  await utimes(join(folder, 'srv', 'data.bin'), 1_000_000_000.5, -3600.25);
}

/** What a day of work does to it. */
export async function changeTree(folder: string): Promise<void> {
  await writeFile(join(folder, 'etc', 'hosts'), '127.0.0.1 localhost\n10.0.0.1 hq\n');
  await rm(join(folder, 'etc', 'alias'));
  await writeFile(join(folder, 'srv', 'new.txt'), 'new\n', { mode: 0o640 });
}

/** Every field of every entry, one line each, sorted: kind, mode, owner, size, time of change in nanoseconds, content, link target, hard links. */
export async function describeTree(folder: string): Promise<string[]> {
  const lines: string[] = [];
  const firstNames = new Map<bigint, string>();
  const names = ['', ...(await readdir(folder, { recursive: true }))].toSorted();
  for (const name of names) {
    const path = join(folder, name);
    const stats = await lstat(path, { bigint: true });
    const fields = [name, stats.mode.toString(8), `${stats.uid}:${stats.gid}`, String(stats.mtimeNs)];
    if (stats.isSymbolicLink()) fields.push(`-> ${await readlink(path)}`);
    if (stats.isFile()) {
      fields.push(String(stats.size), createHash('sha256').update(await readFile(path)).digest('hex'));
      const first = firstNames.get(stats.ino);
      if (first !== undefined) fields.push(`= ${first}`);
      else firstNames.set(stats.ino, name);
    }
    lines.push(fields.join('  '));
  }
  return lines;
}

/** Bytes that look random and are the same in every run. */
function noise(seed: string, length: number): Buffer {
  const blocks: Buffer[] = [];
  for (let i = 0; i * 32 < length; i += 1) blocks.push(createHash('sha256').update(`${seed}-${i}`).digest());
  return Buffer.concat(blocks, length);
}
