import { namespaceAclPath } from '../access/datastore-access.ts';
import type { AccessControl } from '../access/access-control.ts';
import { HttpError } from '../base/errors.ts';
import type { EncryptionKeys } from '../config/encryption-keys.ts';
import type { SyncJob } from '../config/job-config.ts';
import type { Privilege } from '../config/privileges.ts';
import { superuser } from '../config/user-config.ts';
import { isOwner } from '../format/auth-id.ts';

/** Who may see, change, run sync jobs and start ad-hoc pulls (spec sync 2.4). What a run itself may do is checked while it runs. */

/** What the rules look at. */
export type SyncScope = Pick<SyncJob, 'store' | 'ns' | 'remote' | 'remote-store' | 'remote-ns' | 'owner' | 'remove-vanished' | 'sync-direction'>;

/** The local anchor. */
function anchorPath(job: SyncScope): string {
  return namespaceAclPath(job.store, job.ns ?? '');
}

/** ACL path of what a push writes to: `/remote/{remote}/{store}[/{ns}]`. */
function remoteAnchorPath(remote: string, job: SyncScope): string {
  return remoteAclPath(remote, job['remote-store'], job['remote-ns'] ?? '');
}

/** ACL path of a namespace of a remote's datastore. */
export function remoteAclPath(remote: string, store: string, namespace: string): string {
  return `/remote/${remote}/${store}${namespace === '' ? '' : `/${namespace}`}`;
}

/** Whether a run with the rights of `authId` may read a group of `owner` in a datastore of this host (spec sync 2.4). */
export function mayReadGroup(access: AccessControl, authId: string, store: string, namespace: string, owner: string): boolean {
  const path = namespaceAclPath(store, namespace);
  return access.check(authId, path, ['Datastore.Read']) || (access.check(authId, path, ['Datastore.Backup']) && isOwner(owner, authId));
}

/** The job runs with the caller's own rights, or with those of one of his tokens. */
function isCorrectOwner(authId: string, owner: string | undefined): boolean {
  return owner === undefined ? authId === superuser : isOwner(owner, authId);
}

export function maySeeSyncJob(access: AccessControl, authId: string, job: SyncScope): boolean {
  if (!access.check(authId, anchorPath(job), ['Datastore.Audit'])) return false;
  if (job['sync-direction'] === 'push') return job.remote !== undefined && access.check(authId, remoteAnchorPath(job.remote, job), ['Remote.Audit']);
  if (job.remote === undefined) return access.check(authId, namespaceAclPath(job['remote-store'], ''), ['Datastore.Audit']);
  return access.check(authId, `/remote/${job.remote}`, ['Remote.Audit']);
}

/** Create, change, delete, run. A change must pass for the job as it was and as it becomes (spec sync W25). */
export function mayModifySyncJob(access: AccessControl, authId: string, job: SyncScope): boolean {
  return job['sync-direction'] === 'push' ? mayModifyPush(access, authId, job) : mayModifyPull(access, authId, job);
}

function mayModifyPull(access: AccessControl, authId: string, job: SyncScope): boolean {
  const ownRights = isCorrectOwner(authId, job.owner);
  const wanted: Privilege[] = ['Datastore.Audit', 'Datastore.Backup'];
  if (job['remove-vanished'] === true) wanted.push('Datastore.Prune');
  if (!ownRights) wanted.push('Datastore.Modify');
  if (!access.check(authId, anchorPath(job), wanted)) return false;
  if (job.remote !== undefined) return access.check(authId, `/remote/${job.remote}/${job['remote-store']}`, ['Remote.Read']);
  // The run reads the source with the owner's rights. Where these are not the caller's own, the reference asks for nothing, so that
  // whoever may change one datastore could copy every other one of the server into it.
  return ownRights || access.check(authId, namespaceAclPath(job['remote-store'], job['remote-ns'] ?? ''), ['Datastore.Read']);
}

function mayModifyPush(access: AccessControl, authId: string, job: SyncScope): boolean {
  if (job.remote === undefined) return false;
  const wanted: Privilege[] = ['Remote.DatastoreBackup'];
  if (job['remove-vanished'] === true) wanted.push('Remote.DatastorePrune');
  if (!access.check(authId, remoteAnchorPath(job.remote, job), wanted)) return false;
  const anchor = anchorPath(job);
  if (!access.check(authId, anchor, ['Datastore.Audit'])) return false;
  if (access.check(authId, anchor, ['Datastore.Read'])) return true;
  if (!access.check(authId, anchor, ['Datastore.Backup'])) return false;
  return isCorrectOwner(authId, job.owner) || access.check(authId, anchor, ['Datastore.Modify']);
}

/** An ad-hoc `POST pull`, which runs with the caller's rights. HttpError 400 `missing permissions 'A&B' on '/path'`. */
export function requirePull(access: AccessControl, authId: string, pull: Omit<SyncScope, 'owner' | 'sync-direction'>): void {
  access.require(authId, anchorPath(pull), ['Datastore.Backup']);
  if (pull['remove-vanished'] === true) access.require(authId, anchorPath(pull), ['Datastore.Prune']);
  if (pull.remote === undefined) access.require(authId, namespaceAclPath(pull['remote-store'], ''), ['Datastore.Backup']);
  else access.require(authId, `/remote/${pull.remote}/${pull['remote-store']}`, ['Remote.Read']);
}

/** An ad-hoc `POST push`, which runs with the caller's rights. */
export function requirePush(access: AccessControl, authId: string, push: Omit<SyncScope, 'owner' | 'sync-direction' | 'remote'> & { remote: string }): void {
  const target = remoteAnchorPath(push.remote, push);
  access.require(authId, target, ['Remote.DatastoreBackup']);
  if (push['remove-vanished'] === true) access.require(authId, target, ['Remote.DatastorePrune']);
  if (!access.check(authId, anchorPath(push), ['Datastore.Read'])) access.require(authId, anchorPath(push), ['Datastore.Backup']);
}

/**
 * A key that a job uses, with the rights of the job's owner. HttpError 400 in the reference's words: whether there is such a key is nobody's business who may
 * not use it. An archived key does not encrypt.
 */
export function requireKey(keys: Pick<EncryptionKeys, 'find'>, access: AccessControl, owner: string, id: string, use: 'encrypt' | 'decrypt'): void {
  const key = keys.find(id);
  const usable = key !== undefined && (use === 'decrypt' || key['archived-at'] === undefined);
  if (!usable || !access.check(owner, `/system/encryption-keys/${id}`, ['Sys.Modify'])) throw new HttpError(400, `no such key or cannot access key '${id}'`);
}
