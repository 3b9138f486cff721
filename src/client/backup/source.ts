import { readFile, stat } from 'node:fs/promises';
import { ConfigError } from '../../base/errors.ts';
import type { TextSink } from '../../terminal/output.ts';
import { systemErrorText } from '../system-error-text.ts';

export type SourceType = 'pxar' | 'img' | 'conf' | 'log';

/** What is backed up as one archive (spec client-cli 4.1). */
export interface BackupSource {
  /** Name without type. */
  name: string;
  type: SourceType;
  path: string;
  /** Bytes of an image; null for a pipe, and for other types. */
  size: number | null;
  /** `st_dev` and `st_ino`, equal for the same file. */
  identity: string;
}

export const sourcePattern = '^[a-zA-Z0-9_\\-]+\\.(?:pxar|img|conf|log):.+$';

const partsPattern = /^([a-zA-Z0-9_-]+)\.(pxar|img|conf|log):(.+)$/s;
const sectorSize = 512;

function refuse(message: string): never {
  throw new ConfigError('config.source', message);
}

/** The sources that the words of a command line name, each looked at. ConfigError `config.source` with the reference's text. */
export async function backupSources(specs: readonly string[], stderr: TextSink): Promise<BackupSource[]> {
  const sources: BackupSource[] = [];
  for (const spec of specs) {
    const [, name, type, path] = partsPattern.exec(spec) ?? refuse(`unable to parse backup source '${spec}'`);
    if (sources.some((other) => other.name === name && other.type === type)) refuse(`got target twice: '${name}.${type}'`);
    const source = await lookedAt(name!, type as SourceType, path!, stderr);
    const isPipe = source.type === 'img' && source.size === null;
    if (isPipe && sources.some((other) => other.identity === source.identity)) refuse('got duplicate pipe');
    sources.push(source);
  }
  return sources;
}

async function lookedAt(name: string, type: SourceType, path: string, stderr: TextSink): Promise<BackupSource> {
  const found = await stat(path).catch((e: unknown) => {
    if (path === '-') stderr.write("If you are trying to read from stdin use '/dev/stdin' instead of '-'.\n");
    return refuse(`unable to access '${path}' - ${systemErrorText(e)}`);
  });
  const source = { name, type, path, size: null, identity: `${found.dev}:${found.ino}` };
  if (type === 'pxar') return found.isDirectory() ? source : refuse('got unexpected file type (expected directory)');
  if (type !== 'img') return found.isFile() ? source : refuse('got unexpected file type (expected regular file)');
  if (found.isFIFO()) return source;
  if (!found.isFile() && !found.isBlockDevice()) refuse(`got unexpected file type (expected file, block device, or fifo): ${path}`);
  const size = found.isFile() ? found.size : await deviceSize(path, found.rdev);
  return size === 0 ? refuse(`got zero-sized file '${path}'`) : { ...source, size };
}

/** Bytes of a block device, as the kernel tells them beside it. */
async function deviceSize(path: string, device: number): Promise<number> {
  // As the C library packs them; both numbers have less than 20 bits.
  const major = Math.floor(device / 2 ** 8) & 0xfff;
  const minor = (device & 0xff) | (Math.floor(device / 2 ** 12) & 0xfff00);
  try {
    const sectors = Number((await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')).trim());
    if (Number.isSafeInteger(sectors)) return sectors * sectorSize;
  } catch (e) {
    return refuse(`unable to find out the size of block device '${path}' - ${systemErrorText(e)}`);
  }
  return refuse(`unable to find out the size of block device '${path}'`);
}

/** Name on the server; a directory has it in the version that keeps data and metadata together. */
export function serverName({ name, type }: BackupSource): string {
  return `${name}.${type}.${type === 'pxar' ? 'didx' : type === 'img' ? 'fidx' : 'blob'}`;
}
