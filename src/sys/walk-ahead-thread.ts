/**
 * What the thread of WalkAhead does, as text: it is started with nothing to compile and nothing else loaded. Sends slices of directories, each before what is in
 * its own directories, and null at the end. Everything that fails is said to be unknown, and asked again by the one who walks.
 */
export const walkAheadText = String.raw`
const { parentPort, workerData } = require('node:worker_threads');
const { dlopen, getInt32, getRawPointer } = require('node:ffi');
const { fd: rootFd, taken, mostAhead, entryWords, xattrs, quotaProjectId, leftOut } = workerData;
const { functions: libc } = dlopen(null, {
  __errno_location: { arguments: [], return: 'pointer' },
  openat: { arguments: ['i32', 'pointer', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  statx: { arguments: ['i32', 'pointer', 'i32', 'u32', 'pointer'], return: 'i32' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
  flistxattr: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
  syscall: { arguments: ['i64', 'i32', 'pointer', 'u64'], return: 'i64' },
});
const { O_RDONLY, O_NOFOLLOW, O_NOCTTY, O_NONBLOCK, O_NOATIME, O_DIRECTORY } = require('node:fs').constants;
const errnoAt = libc.__errno_location();
const fileFlags = O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_NOATIME | 0o2000000;
const EPERM = 1, EBADF = 9, EINVAL = 22, ENOTTY = 25, ENOSYS = 38, EOPNOTSUPP = 95;
const getFlags = 0x80086601n, getAttributes = 0x801c581fn;
const getdents64 = process.arch === 'arm64' ? 61n : 217n;
/** Entries of a slice, and levels of directories that are open at a time. */
const sliceLength = 1024, deepest = 256;
const statWords = entryWords - 2;

const records = Buffer.alloc(64 * 1024), recordsAt = getRawPointer(records);
const path = Buffer.alloc(4096), pathAt = getRawPointer(path);
const answer = new Uint32Array(64), answerAt = getRawPointer(answer);
const data = new Uint32Array(16), dataAt = getRawPointer(data);
const excluded = Buffer.from(leftOut);

const stopped = new Error('stopped');
let sent = 0;
let lastNumber = 0;

function setPath(name) {
  path.set(name);
  path[name.length] = 0;
}

function look(directory, flags) {
  return libc.statx(directory, pathAt, flags, 0x7ff, answerAt) === 0;
}

function open(directory, flags) {
  const fd = libc.openat(directory, pathAt, flags);
  // Only the owner may leave the access time alone.
  return fd < 0 && getInt32(errnoAt) === EPERM ? libc.openat(directory, pathAt, flags & ~O_NOATIME) : fd;
}

/** Flags of chattr(1) of a file that has no attributes; null when it has some, or nobody knows. */
function plainFlags(fd) {
  if (xattrs && Number(libc.flistxattr(fd, dataAt, 0n)) !== 0) return null;
  if (quotaProjectId && (libc.ioctl(fd, getAttributes, dataAt) < 0 || data[3] !== 0)) return null;
  if (libc.ioctl(fd, getFlags, dataAt) >= 0) return data[0];
  const errno = getInt32(errnoAt);
  return errno === EBADF || errno === EINVAL || errno === ENOTTY || errno === ENOSYS || errno === EOPNOTSUPP ? 0 : null;
}

/** Names without dots, sorted; null when they cannot be had, or patterns are among them. */
function namesOf(directory) {
  const names = [];
  for (;;) {
    const length = Number(libc.syscall(getdents64, directory, recordsAt, BigInt(records.length)));
    if (length < 0) return null;
    if (length === 0) break;
    const list = Buffer.from(records.subarray(0, length));
    for (let at = 0; at < list.length; at += list.readUInt16LE(at + 16)) {
      const start = at + 19;
      const end = list.indexOf(0, start);
      if (list[start] === 46 && (end === start + 1 || (end === start + 2 && list[start + 1] === 46))) continue;
      const name = list.subarray(start, end);
      if (name.equals(excluded)) return null;
      names.push(name);
    }
  }
  return names.sort(Buffer.compare);
}

function send(slice) {
  const count = slice.ends.length;
  for (;;) {
    const before = Atomics.load(taken, 0);
    if (Atomics.load(taken, 1) !== 0) throw stopped;
    if (sent === before || ((sent + count - before) | 0) <= mostAhead) break;
    Atomics.wait(taken, 0, before);
  }
  sent = (sent + count) | 0;
  parentPort.postMessage(slice, slice.names === null ? [] : [slice.names.buffer, slice.ends.buffer, slice.facts.buffer]);
}

function leave(number) {
  send({ directory: number, names: null, ends: new Uint32Array(0), facts: new Uint32Array(0), isLast: true });
}

/** Of one entry into facts; its number when it is a directory to go into. */
function enter(directory, name, facts, at, device) {
  setPath(name);
  if (!look(directory, 0x100)) return 0;
  facts.set(answer.subarray(0, statWords), at);
  facts[at + statWords] = 1;
  const type = answer[7] & 0o170000;
  const isHere = answer[34] === device[0] && answer[35] === device[1];
  if (type === 0o040000) {
    lastNumber += 1;
    facts[at + statWords] = 3;
    facts[at + statWords + 1] = lastNumber;
    return lastNumber;
  }
  if (type !== 0o100000 || !isHere) return 0;
  const fd = open(directory, fileFlags);
  if (fd < 0) return 0;
  const flags = plainFlags(fd);
  libc.close(fd);
  if (flags === null) return 0;
  facts[at + statWords] = 2;
  facts[at + statWords + 1] = flags;
  return 0;
}

function descend(directory, name, number, device, depth) {
  setPath(name);
  const fd = depth < deepest ? open(directory, fileFlags | O_DIRECTORY) : -1;
  if (fd < 0) return leave(number);
  try {
    path[0] = 0;
    // Another file system has other features, and perhaps does not belong to the archive.
    if (look(fd, 0x1000) && answer[34] === device[0] && answer[35] === device[1]) walk(fd, number, device, depth);
    else leave(number);
  } finally {
    libc.close(fd);
  }
}

function walk(directory, number, device, depth) {
  const names = namesOf(directory);
  if (names === null) return leave(number);
  let from = 0;
  do {
    const part = names.slice(from, from + sliceLength);
    from += part.length;
    const ends = new Uint32Array(part.length);
    const facts = new Uint32Array(part.length * entryWords);
    const folders = [];
    let end = 0;
    for (let i = 0; i < part.length; i += 1) {
      end += part[i].length;
      ends[i] = end;
      const folder = enter(directory, part[i], facts, i * entryWords, device);
      if (folder !== 0) folders.push([part[i], folder]);
    }
    const bytes = new Uint8Array(end);
    for (let i = 0; i < part.length; i += 1) bytes.set(part[i], ends[i] - part[i].length);
    send({ directory: number, names: bytes, ends, facts, isLast: from >= names.length });
    for (const [name, folder] of folders) descend(directory, name, folder, device, depth + 1);
  } while (from < names.length);
}

path[0] = 0;
try {
  // Opened by its own: what was read of a directory belongs to the descriptor, and the caller may have to list it.
  if (look(rootFd, 0x1000)) descend(rootFd, Buffer.from('.'), 0, [answer[34], answer[35]], 0);
  parentPort.postMessage(null);
} catch (e) {
  if (e !== stopped) throw e;
}
`;
