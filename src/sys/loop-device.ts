import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { errorCode, StoreError } from '../base/errors.ts';
import { callOffThread } from './off-thread-call.ts';
import { SystemCallError } from './libc.ts';

const controlPath = '/dev/loop-control';

/**
 * Off the event loop: the kernel reads the partition table through the file, and when that one is a FUSE file, this very process answers. LOOP_CTL_GET_FREE may name a
 * device that somebody else takes first, so EBUSY is another try.
 */
const attachBody = `
const fs = require('node:fs');
const { functions: libc } = ffi.dlopen(null, {
  __errno_location: { arguments: [], return: 'pointer' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
});
const errnoAddress = libc.__errno_location();
const ioctl = (fd, request, argument) => {
  const result = libc.ioctl(fd, request, argument);
  return result < 0 ? -ffi.getInt32(errnoAddress) : result;
};
const LOOP_CTL_GET_FREE = 0x4C82n, LOOP_CONFIGURE = 0x4C0An, EBUSY = 16;
const READ_ONLY = 1, PARTSCAN = 8;
const control = fs.openSync('${controlPath}', fs.constants.O_RDWR);
const file = fs.openSync(input.path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
try {
  for (let tries = 0; ; tries += 1) {
    const number = ioctl(control, LOOP_CTL_GET_FREE, 0n);
    if (number < 0) return { errno: -number };
    const device = '/dev/loop' + number;
    const loop = fs.openSync(device, fs.constants.O_RDONLY);
    try {
      // struct loop_config: fd u32, block_size u32, struct loop_info64 (232 bytes, flags at 52), 8 reserved u64.
      const config = Buffer.alloc(304);
      config.writeUInt32LE(file, 0);
      config.writeUInt32LE(READ_ONLY | PARTSCAN, 8 + 52);
      const result = ioctl(loop, LOOP_CONFIGURE, config);
      if (result >= 0) return { value: device };
      if (result !== -EBUSY || tries >= 32) return { errno: -result };
    } finally {
      fs.closeSync(loop);
    }
  }
} finally {
  fs.closeSync(file);
  fs.closeSync(control);
}`;

const detachBody = `
const fs = require('node:fs');
const { functions: libc } = ffi.dlopen(null, {
  __errno_location: { arguments: [], return: 'pointer' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
});
const errnoAddress = libc.__errno_location();
const LOOP_CLR_FD = 0x4C01n;
const loop = fs.openSync(input.device, fs.constants.O_RDONLY);
try {
  const result = libc.ioctl(loop, LOOP_CLR_FD, 0n);
  return result < 0 ? { errno: ffi.getInt32(errnoAddress) } : { value: null };
} finally {
  fs.closeSync(loop);
}`;

/** StoreError `store.loop` when this machine has no loop devices, or they are not for us. */
export function requireLoopDevices(): void {
  if (existsSync(controlPath)) return;
  throw new StoreError('store.loop', `unable to map an image: ${controlPath} is not there`, { hint: 'load the kernel module: modprobe loop; in a container hand /dev/loop-control and /dev/loop* in' });
}

/** Attaches the file `path` to a free loop device, read-only, with its partitions, and returns the device's path. SystemCallError, StoreError `store.loop`. */
export async function attachLoopDevice(path: string): Promise<string> {
  requireLoopDevices();
  try {
    return (await callOffThread('LOOP_CONFIGURE', attachBody, { path })) as string;
  } catch (e) {
    throw new StoreError('store.loop', 'unable to attach a loop device', { cause: e, hint: 'loop devices need root' });
  }
}

/** Detaches a loop device; while somebody uses it, this comes into effect when he has closed it. Nothing happens when nothing is attached. */
export async function detachLoopDevice(device: string): Promise<void> {
  try {
    await callOffThread('LOOP_CLR_FD', detachBody, { device });
  } catch (e) {
    // ENXIO: nothing is attached.
    if (!(e instanceof SystemCallError && e.code === 'ENXIO')) throw e;
  }
}

/** Attached loop devices by the path of their file, as the kernel writes it. */
export function attachedLoopDevices(): Map<string, string> {
  const devices = new Map<string, string>();
  for (const name of readdirSync('/sys/block')) {
    if (!/^loop\d+$/.test(name)) continue;
    try {
      devices.set(readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').replace(/\n$/, ''), `/dev/${name}`);
    } catch (e) {
      // Not attached, or just detached.
      if (errorCode(e) !== 'ENOENT' && errorCode(e) !== 'ENXIO') throw e;
    }
  }
  return devices;
}
