interface FlagBit {
  /** In an ENTRY item. */
  entry: bigint;
  /** Of FS_IOC_GETFLAGS. */
  inode: number;
}

/** Flags of chattr(1) that archives keep (spec pxar 6.1). */
const inodeBits = {
  append: { entry: 0x10000n, inode: 0x20 },
  noAtime: { entry: 0x20000n, inode: 0x80 },
  compress: { entry: 0x40000n, inode: 0x4 },
  noCopyOnWrite: { entry: 0x80000n, inode: 0x800000 },
  noDump: { entry: 0x100000n, inode: 0x40 },
  directorySync: { entry: 0x200000n, inode: 0x10000 },
  immutable: { entry: 0x400000n, inode: 0x10 },
  sync: { entry: 0x800000n, inode: 0x8 },
  noCompress: { entry: 0x1000000n, inode: 0x400 },
  projectInherit: { entry: 0x2000000n, inode: 0x20000000 },
} as const satisfies Record<string, FlagBit>;

/** Hidden, system, archive: attributes of a FAT file. */
const fatBits: readonly FlagBit[] = [
  { entry: 0x2000n, inode: 2 },
  { entry: 0x4000n, inode: 4 },
  { entry: 0x8000n, inode: 32 },
];

const all: readonly FlagBit[] = Object.values(inodeBits);
/** `noDump` is archived and not restored. */
const restored = all.filter((bit) => bit !== inodeBits.noDump);
/** Those that count only when they are set before content is written. */
const initial: readonly FlagBit[] = [inodeBits.noAtime, inodeBits.compress, inodeBits.noCopyOnWrite, inodeBits.noCompress, inodeBits.projectInherit];

function toEntry(bits: readonly FlagBit[], flags: number): bigint {
  return bits.reduce((sum, bit) => ((flags & bit.inode) === 0 ? sum : sum | bit.entry), 0n);
}

function toInode(bits: readonly FlagBit[], flags: bigint): number {
  return bits.reduce((sum, bit) => ((flags & bit.entry) === 0n ? sum : sum | bit.inode), 0);
}

function mask(bits: readonly FlagBit[]): number {
  return bits.reduce((sum, bit) => sum | bit.inode, 0);
}

/** Flags for the archive from those of chattr. */
export function entryFlags(inodeFlags: number, fatAttributes: number): bigint {
  return toEntry(all, inodeFlags) | toEntry(fatBits, fatAttributes);
}

/** What an inode's flags become (spec pxar 8.6); `current` where the archive has none. */
export function restoredInodeFlags(archived: bigint, current: number, when: 'before-content' | 'at-end'): number {
  const bits = when === 'before-content' ? initial : restored;
  if (toInode(all, archived) === 0) return current;
  return ((toInode(bits, archived) | (current & ~mask(bits))) >>> 0);
}

/** What a FAT file's attributes become. */
export function restoredFatAttributes(archived: bigint, current: number): number {
  return (toInode(fatBits, archived) | (current & ~mask(fatBits))) >>> 0;
}

/** True when the archive has attributes of FAT for the entry. */
export function hasFatAttributes(archived: bigint): boolean {
  return toInode(fatBits, archived) !== 0;
}
