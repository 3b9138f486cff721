import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, errorCode } from '../base/errors.ts';
import { createFileOnce } from './atomic-file.ts';
import type { InstallationPaths } from './home.ts';

/**
 * 32 hex digits that name this installation for those who look after several. Random and kept in the state folder, since cloned machines
 * share their machine id. Made at the first call. ConfigError when the file cannot be written or holds something else.
 */
export async function loadInstanceId(paths: InstallationPaths): Promise<string> {
  const path = join(paths.state, 'instance-id');
  const known = await read(path);
  if (known !== null) return known;
  await createFileOnce(path, Buffer.from(`${randomBytes(16).toString('hex')}\n`), { mode: 0o644, owner: paths.serviceUser });
  // Read back: another process may have been faster.
  const made = await read(path);
  if (made === null) throw new ConfigError('config.read', `"${path}" went away`);
  return made;
}

async function read(path: string): Promise<string | null> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw new ConfigError('config.read', `unable to read "${path}"`, { cause: e });
  }
  if (!/^[0-9a-f]{32}$/.test(text)) throw new ConfigError('config.value', `"${path}" does not hold an instance id`, { hint: `remove ${path}: a new one is made` });
  return text;
}
