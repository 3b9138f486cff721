import { closeSync, constants, linkSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pause } from '../../base/async.ts';
import { ConfigError, errorCode, FormatError, StoreError } from '../../base/errors.ts';
import { detachMount } from '../../sys/mount-point.ts';
import { attachedLoopDevices, detachLoopDevice } from '../../sys/loop-device.ts';
import { escapeUnitName, unescapeUnitName } from './unit-name.ts';

/** Where mapped images lie, of this program and of the reference (spec client-cli 7). */
export const mappedImagesFolder = '/run/pbs-loopdev';
const endLimitMs = 10_000;
const pollMs = 50;

/** An image that a process maps. */
export interface MappedImage {
  /** `<repository>:<snapshot>/<archive>`. */
  name: string;
  /** Of the file, escaped. */
  fileName: string;
  /** Null: not attached. */
  device: string | null;
  pid: number;
}

function pidFileName(fileName: string): string {
  // As the reference: what follows the last dot is replaced.
  return `${fileName.replace(/\.[^.]*$/, '')}.pid`;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw e;
  }
}

/** The files of mapped images in one folder: each image has one that it is mounted on, and one with the process id. */
export class MappedImages {
  readonly #folder: string;

  constructor(folder: string = mappedImagesFolder) {
    this.#folder = folder;
  }

  /**
   * Reserves the name for this process. Returns where to mount, and how to give it up. ConfigError `config.mapped` with the reference's text when
   * somebody has it.
   */
  async reserve(name: string): Promise<{ path: string; release: () => void }> {
    await this.clean();
    const fileName = escapeUnitName(name);
    const path = join(this.#folder, fileName);
    const pidPath = join(this.#folder, pidFileName(fileName));
    // Whole under its name or not there: others remove what names no living process.
    const newPath = join(this.#folder, `.${process.pid}.new`);
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
      writeFileSync(newPath, String(process.pid), { mode: 0o644 });
      linkSync(newPath, pidPath);
    } catch (e) {
      if (errorCode(e) !== 'EEXIST') throw new StoreError('store.loop', `unable to create '${pidPath}'`, { cause: e, hint: 'images are mapped as root' });
      throw new ConfigError('config.mapped', 'the given archive is already mapped, cannot map twice', { hint: '`unmap` without a name shows what is mapped' });
    } finally {
      rmSync(newPath, { force: true });
    }
    closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600));
    return {
      path,
      release: () => {
        rmSync(path, { force: true });
        rmSync(pidPath, { force: true });
      },
    };
  }

  /** What is mapped, in order of the names. Files of processes that are gone are removed. */
  async list(): Promise<MappedImage[]> {
    await this.clean();
    const devices = attachedLoopDevices();
    return this.#files().flatMap((fileName) => {
      const pid = fileName.endsWith('.pid') ? null : this.#pidOf(pidFileName(fileName));
      return pid === null ? [] : [{ name: shownName(fileName), fileName, pid, device: devices.get(join(this.#folder, fileName)) ?? null }];
    });
  }

  /** Removes what processes that are gone have left. */
  async clean(): Promise<void> {
    const devices = attachedLoopDevices();
    for (const name of this.#files()) {
      const isImage = !name.endsWith('.pid');
      const pid = this.#pidOf(isImage ? pidFileName(name) : name);
      if (pid !== null && isAlive(pid)) continue;
      const path = join(this.#folder, name);
      const device = devices.get(path);
      if (device !== undefined) await detachLoopDevice(device);
      // A mount whose process is gone has to be taken away before its file can be.
      if (isImage) ignoring('EINVAL', () => detachMount(path));
      rmSync(path, { force: true });
    }
  }

  /**
   * Ends the mapping that `which` names: a number N or `/dev/loopN`, or the end of a name. Throws ConfigError `config.mapped` with the reference's text, StoreError
   * `store.loop` when the process does not end in 10 s.
   */
  async unmap(which: string): Promise<void> {
    const image = await this.#find(which);
    if (image.device !== null) await detachLoopDevice(image.device);
    try {
      process.kill(image.pid, 'SIGINT');
    } catch (e) {
      if (errorCode(e) !== 'ESRCH') throw e;
    }
    const deadline = performance.now() + endLimitMs;
    while (isAlive(image.pid)) {
      if (performance.now() > deadline) throw new StoreError('store.loop', `the process ${image.pid} that maps '${image.name}' does not end`, { hint: `see what still uses ${image.device ?? 'it'}, e.g. with fuser or lsblk` });
      await pause(pollMs);
    }
    await this.clean();
  }

  async #find(which: string): Promise<MappedImage> {
    const images = await this.list();
    const device = /^\d+$/.test(which) ? `/dev/loop${which}` : which;
    if (device.startsWith('/dev/')) {
      const found = images.find((image) => image.device === device);
      if (found !== undefined) return found;
      throw new ConfigError('config.mapped', `nothing mapped to ${device}`, { hint: '`unmap` without a name shows what is mapped' });
    }
    const found = images.filter(({ fileName }) => fileName.endsWith(escapeUnitName(which)));
    if (found.length === 1) return found[0]!;
    if (found.length > 1) throw new ConfigError('config.mapped', `'${which}' names several images: ${found.map(({ name }) => name).join(', ')}`);
    throw new ConfigError('config.mapped', `no mapping for name '${which}' found`, { hint: '`unmap` without a name shows what is mapped' });
  }

  #files(): string[] {
    try {
      return readdirSync(this.#folder)
        .filter((name) => !name.startsWith('.'))
        .sort();
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return [];
      throw e;
    }
  }

  /** Null: the file names none. */
  #pidOf(pidFile: string): number | null {
    const text = readIfThere(join(this.#folder, pidFile));
    return text !== null && /^[1-9]\d{0,9}\s*$/.test(text) ? Number(text) : null;
  }
}

function shownName(fileName: string): string {
  try {
    return unescapeUnitName(fileName);
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    return fileName;
  }
}

function isAlive(pid: number): boolean {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // A process that ended but was not waited for does nothing any more.
  return stat !== null && !/^[^)]*\) [ZX]/.test(stat.slice(stat.indexOf('(')));
}

function ignoring(code: string, work: () => void): void {
  try {
    work();
  } catch (e) {
    if (errorCode(e) !== code) throw e;
  }
}
