import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { HttpError } from '../../base/errors.ts';
import type { Privilege } from '../../config/privileges.ts';
import { isAuthId, isSafeId, tokenNameOf, userOf } from '../../format/auth-id.ts';
import { parseNamespace } from '../../format/backup-path.ts';
import type { Upid } from '../../format/upid.ts';

/** Whether the task is the caller's own: he ran it, or a token of his did. */
function isOwn(caller: string, ranBy: string): boolean {
  return ranBy === caller || (isAuthId(ranBy) && tokenNameOf(ranBy) !== null && userOf(ranBy) === caller);
}

/** A privilege on a namespace of a datastore, here or (`remote`) of a remote's. */
interface Right {
  remote?: string;
  store: string;
  ns: string;
  privilege: Privilege;
}

/** The rights that allow to run such a job; null for tasks that are no jobs (spec server 6). */
function rightsToRun({ workerType, workerId }: Upid): Right[] | null {
  const parts = workerId.split(':');
  const [store = '', ns = ''] = parts;
  switch (workerType) {
    case 'verificationjob':
      return [{ store, ns: '', privilege: 'Datastore.Verify' }];
    case 'garbage_collection':
      return [{ store, ns: '', privilege: 'Datastore.Modify' }];
    case 'prune':
    case 'prunejob':
      return [{ store, ns, privilege: 'Datastore.Modify' }];
    case 'syncjob':
      return parts.length === 5 ? rightsToPull(parts as [string, string, string, string, string]) : null;
    default:
      return null;
  }
}

/** Of pull jobs (spec sync, privileges of an ad-hoc pull); the worker id does not tell a push from a pull. */
function rightsToPull([remote, remoteStore, store, ns]: [string, string, string, string, string]): Right[] {
  const target: Right = { store, ns, privilege: 'Datastore.Backup' };
  if (remote === '-') return [target, { store: remoteStore, ns: '', privilege: 'Datastore.Backup' }];
  return [target, { remote, store: remoteStore, ns: '', privilege: 'Remote.Read' }];
}

function aclPathOf({ remote, store, ns }: Right): string {
  return remote === undefined ? namespaceAclPath(store, ns) : `/remote/${remote}/${store}`;
}

/** A worker id may hold anything; only datastores and namespaces lead to ACL entries, and a store is one component. */
function isPlain({ remote, store, ns }: Right): boolean {
  try {
    parseNamespace(ns);
    return isSafeId(store) && (remote === undefined || isSafeId(remote));
  } catch {
    return false;
  }
}

/** Whether `caller` may see a task and its log (spec server 6, end). */
export function maySeeTask(access: AccessControl, caller: string, upid: Upid): boolean {
  if (isOwn(caller, upid.authId) || access.check(caller, '/system/tasks', ['Sys.Audit'])) return true;
  const rights = rightsToRun(upid);
  return rights !== null && rights.every((right) => isPlain(right) && access.check(caller, aclPathOf(right), [right.privilege]));
}

/** HttpError 400 `task access not allowed`. */
export function requireTaskAccess(access: AccessControl, caller: string, upid: Upid): void {
  if (!maySeeTask(access, caller, upid)) throw new HttpError(400, 'task access not allowed');
}

/** Who may stop a task: the same auth-id, a token is not its user here; otherwise Sys.Modify on /system/tasks. HttpError 400. */
export function requireTaskStop(access: AccessControl, caller: string, upid: Upid): void {
  if (upid.authId !== caller) access.require(caller, '/system/tasks', ['Sys.Modify']);
}
