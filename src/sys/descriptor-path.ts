/**
 * Paths that begin at an open descriptor, so that nobody who renames folders meanwhile leads elsewhere: what the `*at` system calls are for, in calls that
 * take a path. Needs /proc.
 */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** Path of the entry `name` in the folder that `fd` is open on. `name` is one component, as bytes. */
export function entryPath(fd: number, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
}
