import { readFileSync } from 'node:fs';
import { errorCode } from '../base/errors.ts';

export interface SystemUser {
  uid: number;
  /** Primary group. */
  gid: number;
}

/** Looks `name` up in a file of passwd(5) form; null when it is not there. Users of name services other than files are not seen. */
export function lookupUser(name: string, passwdFile = '/etc/passwd'): SystemUser | null {
  let text: string;
  try {
    text = readFileSync(passwdFile, 'utf8');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw e;
  }
  for (const line of text.split('\n')) {
    const fields = line.split(':');
    if (fields[0] !== name || fields.length < 4) continue;
    const [uid, gid] = [Number(fields[2]), Number(fields[3])];
    if (Number.isSafeInteger(uid) && Number.isSafeInteger(gid) && fields[2] !== '' && fields[3] !== '') return { uid, gid };
  }
  return null;
}
