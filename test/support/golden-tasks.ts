import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readFixture } from './golden.ts';

/** Files of the golden task folder and job states by path, e.g. `log/tasks/archive`, `lib/jobstates/syncjob-all.json`. Their names are too long for the tar reader. */
export function goldenTaskFiles(): Map<string, string> {
  return new Map(Object.entries(JSON.parse(readFixture('tasks/target.json').toString('utf8')) as Record<string, string>));
}

/** Writes those below `prefix` into `folder`, without the prefix. */
export async function unpackGoldenTasks(prefix: string, folder: string): Promise<void> {
  for (const [name, content] of goldenTaskFiles()) {
    if (!name.startsWith(prefix)) continue;
    const path = join(folder, name.slice(prefix.length));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}
