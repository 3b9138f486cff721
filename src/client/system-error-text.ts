import { errorCode, toError } from '../base/errors.ts';

/** As the C library says it, which is what the reference prints. */
const texts: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied (os error 13)',
  EBADF: 'Bad file descriptor (os error 9)',
  EDQUOT: 'Disk quota exceeded (os error 122)',
  EEXIST: 'File exists (os error 17)',
  EFBIG: 'File too large (os error 27)',
  EIO: 'Input/output error (os error 5)',
  EISDIR: 'Is a directory (os error 21)',
  ELOOP: 'Too many levels of symbolic links (os error 40)',
  ENAMETOOLONG: 'File name too long (os error 36)',
  ENOENT: 'No such file or directory (os error 2)',
  ENOSPC: 'No space left on device (os error 28)',
  ENOTDIR: 'Not a directory (os error 20)',
  EPERM: 'Operation not permitted (os error 1)',
  EPIPE: 'Broken pipe (os error 32)',
  EROFS: 'Read-only file system (os error 30)',
};

/** Text of a failed system call as the reference prints it; of anything else its message. */
export function systemErrorText(e: unknown): string {
  return texts[errorCode(e)] ?? toError(e).message;
}
