import { spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { receiveDescriptor, setNonBlocking, socketPair } from '../sys/passed-descriptor.ts';
import { detachMount, mountFuse } from '../sys/mount-point.ts';
import { FuseDevice } from './device.ts';

const devicePath = '/dev/fuse';

export interface MountRequest {
  /** Absolute path, links resolved. */
  target: string;
  /** File type bits of the root: a folder is mounted on a folder, a file on a file. */
  rootMode: number;
  /** `PATH`, to look for fusermount in. */
  searchPath: string;
}

/** A mounted file system before anybody answers for it. */
export interface Mounted {
  device: FuseDevice;
  /** Takes it away from the tree. Nothing happens when that was done already. */
  unmount: () => Promise<void>;
}

/**
 * Mounts a read-only FUSE file system: by mount(2) as root, otherwise with the helper of the FUSE packages that is allowed to. StoreError `store.fuse` that says
 * what is missing.
 */
export async function mountFileSystem(request: MountRequest): Promise<Mounted> {
  return process.geteuid?.() === 0 ? mountAsRoot(request) : mountWithHelper(request);
}

function mountAsRoot({ target, rootMode }: MountRequest): Mounted {
  let fd: number;
  try {
    fd = openSync(devicePath, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (e) {
    throw deviceError(e);
  }
  try {
    mountFuse({ target, device: fd, rootMode, uid: process.geteuid!(), gid: process.getegid!() });
  } catch (e) {
    closeSync(fd);
    const hint = errorCode(e) === 'EPERM' ? 'a container needs the capability CAP_SYS_ADMIN for this' : 'see the kernel log: dmesg';
    throw new StoreError('store.fuse', `unable to mount at '${target}'`, { cause: e, hint });
  }
  return {
    device: new FuseDevice(fd),
    unmount: () => {
      ignoreUnmounted(() => detachMount(target));
      return Promise.resolve();
    },
  };
}

function ignoreUnmounted(unmount: () => void): void {
  try {
    unmount();
  } catch (e) {
    if (errorCode(e) !== 'EINVAL' && errorCode(e) !== 'ENOENT') throw e;
  }
}

function deviceError(cause: unknown): StoreError {
  const hint = errorCode(cause) === 'ENOENT' ? 'load the kernel module: modprobe fuse; in a container hand /dev/fuse in' : `access to ${devicePath} is refused here`;
  return new StoreError('store.fuse', `unable to open ${devicePath}`, { cause, hint });
}

function findHelper(searchPath: string): string {
  for (const name of ['fusermount3', 'fusermount']) {
    for (const folder of searchPath.split(delimiter).filter((part) => part !== '')) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  throw new StoreError('store.fuse', "mounting as an ordinary user needs 'fusermount3', which is not installed", { hint: 'install the package fuse3, or run the command as root' });
}

function runHelper(helper: string, argv: readonly string[], socket: number | null): Promise<void> {
  const child = spawn(helper, argv, { stdio: ['ignore', 'ignore', 'pipe', ...(socket === null ? [] : [socket])], env: socket === null ? {} : { _FUSE_COMMFD: '3' } });
  let text = '';
  child.stderr!.setEncoding('utf8').on('data', (piece: string) => (text = `${text}${piece}`.slice(0, 4096)));
  return new Promise((resolve, reject) => {
    child.on('error', (cause) => reject(new StoreError('store.fuse', `unable to run ${helper}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new StoreError('store.fuse', text.trim() || `${helper} ended with ${code}`, text.includes('Permission denied') ? { hint: `as an ordinary user this needs access to ${devicePath}, and the folder has to be yours` } : {}));
    });
  });
}

async function mountWithHelper({ target, searchPath }: MountRequest): Promise<Mounted> {
  const helper = findHelper(searchPath);
  const [ours, its] = socketPair();
  let fd: number | null;
  try {
    await runHelper(helper, ['-o', 'ro,nosuid,nodev,default_permissions,fsname=/dev/fuse', '--', target], its);
    fd = receiveDescriptor(ours);
  } finally {
    closeSync(ours);
    closeSync(its);
  }
  if (fd === null) throw new StoreError('store.fuse', `${helper} handed no descriptor over`);
  setNonBlocking(fd);
  return { device: new FuseDevice(fd), unmount: () => unmountWithHelper(helper, target) };
}

async function unmountWithHelper(helper: string, target: string): Promise<void> {
  try {
    await runHelper(helper, ['-u', '-q', '-z', '--', target], null);
  } catch (e) {
    // Without -q it would say that nothing is mounted there, which is what is wanted.
    if (e instanceof StoreError && e.cause !== undefined) throw e;
  }
}
