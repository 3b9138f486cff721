import { checkedCall, cString, libc } from './libc.ts';

/** mount(2): MS_RDONLY, MS_NOSUID, MS_NODEV. */
const mountFlags = 1n | 2n | 4n;
/** umount2(2): MNT_DETACH, UMOUNT_NOFOLLOW. */
const unmountFlags = 2 | 8;

/** What a FUSE file system is mounted with. */
export interface FuseMountOptions {
  /** Absolute path of a folder, or of a file when `rootMode` is one's. */
  target: string;
  /** Descriptor of `/dev/fuse` that the requests will come from. */
  device: number;
  /** File type bits of the root. */
  rootMode: number;
  uid: number;
  gid: number;
}

/**
 * `mount(2)` of a FUSE file system, read-only: permissions are checked by the kernel, and only the user `uid` gets in. Throws SystemCallError
 * (EPERM without CAP_SYS_ADMIN, ENODEV where the kernel has no FUSE).
 */
export function mountFuse({ target, device, rootMode, uid, gid }: FuseMountOptions): void {
  const [source, path, type] = [cString('/dev/fuse'), cString(target), cString('fuse')];
  const data = cString(`fd=${device},rootmode=${rootMode.toString(8)},user_id=${uid},group_id=${gid},default_permissions`);
  checkedCall('mount', target, () => libc.mount(source, path, type, mountFlags, data));
}

/** Takes a mount away from the tree at once; it ends when nobody uses it any more. Links are not followed. Throws SystemCallError (EINVAL: nothing is mounted there). */
export function detachMount(target: string): void {
  const path = cString(target);
  checkedCall('umount2', target, () => libc.umount2(path, unmountFlags));
}
