import { chown } from 'node:fs/promises';
import { lookupUser, type SystemUser } from '../sys/user.ts';

let cached: SystemUser | null | undefined;

/**
 * Who files and folders of a datastore belong to: user and group `backup` when running as root on a host that has that user
 * (spec formats 3.1); null otherwise: what is made stays with the user that made it.
 */
export function fileOwner(): SystemUser | null {
  if (cached === undefined) cached = process.getuid?.() === 0 ? lookupUser('backup') : null;
  return cached;
}

/** Gives a file or folder to the datastore's owner; nothing when there is none. Links are followed. */
export async function giveToFileOwner(path: string): Promise<void> {
  const owner = fileOwner();
  if (owner !== null) await chown(path, owner.uid, owner.gid);
}
