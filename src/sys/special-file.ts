import { checkedCall, cString, libc } from './libc.ts';

/** Device number from major and minor as the kernel's 64-bit `dev_t`. */
export function deviceNumber(major: number, minor: number): bigint {
  const ma = BigInt(major);
  const mi = BigInt(minor);
  return (mi & 0xffn) | ((ma & 0xfffn) << 8n) | ((mi & ~0xffn) << 12n) | ((ma & ~0xfffn) << 32n);
}

/**
 * `mknod(2)`: makes a fifo, socket or device. `mode` holds file type and permission bits (the umask applies),
 * `device` counts for devices only. Throws SystemCallError (EPERM for devices without CAP_MKNOD).
 */
export function makeSpecialFile(path: string | Uint8Array, mode: number, device = 0n): void {
  const name = cString(path);
  checkedCall('mknod', path, () => libc.mknod(name, mode, device));
}

/** Major and minor of a device number. */
export function deviceNumbers(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n)),
  };
}
