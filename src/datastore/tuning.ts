/** `tuning` of a datastore with its defaults (spec formats 4.9). */
export interface DatastoreTuning {
  /** Order in which verify reads the chunks of an index. */
  chunkOrder: 'inode' | 'none';
  /**
   * What makes stored data survive a power loss: `file` syncs every chunk, `filesystem` syncs the whole file system before
   * a snapshot becomes visible, `none` leaves it to the kernel.
   */
  syncLevel: 'none' | 'filesystem' | 'file';
  /** Garbage collection first checks that access times are kept. */
  gcAtimeSafetyCheck: boolean;
  /** Minutes, 1 to 2880; undefined = one day and five minutes. */
  gcAtimeCutoff: number | undefined;
  /** Digests that garbage collection remembers, 0 to 8388608. */
  gcCacheCapacity: number;
  verificationReaders: number;
  verificationWorkers: number;
}

export const defaultTuning: Readonly<DatastoreTuning> = {
  chunkOrder: 'inode',
  syncLevel: 'filesystem',
  gcAtimeSafetyCheck: true,
  gcAtimeCutoff: undefined,
  gcCacheCapacity: 1024 * 1024,
  verificationReaders: 1,
  verificationWorkers: 4,
};
