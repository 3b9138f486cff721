import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, parseJson } from '../base/json-text.ts';
import { errorCode } from '../base/errors.ts';
import { replaceFile } from '../datastore/replace-file.ts';
import { sortedJson } from '../terminal/output.ts';

const keptRepositories = 11;

async function readCounts(path: string): Promise<Map<string, number>> {
  try {
    const value = parseJson(await readFile(path));
    return new Map(isJsonObject(value) ? Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === 'number') : []);
  } catch (e) {
    if (errorCode(e) === 'ENOENT' || errorCode(e).startsWith('format.')) return new Map();
    throw e;
  }
}

/**
 * Counts the use of a repository in `repo-list` of the cache folder, which only completion looks at (spec client-cli 2.4). A folder that cannot be
 * written is no reason for a backup or a restore to fail.
 */
export async function countRepository(cacheFolder: string, repository: string): Promise<void> {
  const path = join(cacheFolder, 'repo-list');
  try {
    const counts = await readCounts(path);
    counts.set(repository, (counts.get(repository) ?? 0) + 1);
    // The one in use stays whatever the others have.
    const kept = [...counts].sort(([a, countA], [b, countB]) => Number(b === repository) - Number(a === repository) || countB - countA).slice(0, keptRepositories);
    await mkdir(cacheFolder, { recursive: true, mode: 0o755 });
    await replaceFile(path, sortedJson(Object.fromEntries(kept), false), { owner: null, sync: false });
  } catch (e) {
    if (errorCode(e) === '') throw e;
  }
}

/** Repositories that were used, the one used most first. */
export async function repositoriesByUse(cacheFolder: string): Promise<string[]> {
  return [...(await readCounts(join(cacheFolder, 'repo-list')))].sort(([, a], [, b]) => b - a).map(([repository]) => repository);
}
