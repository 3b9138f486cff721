import { Type } from 'typebox';
import type { AccessControl } from '../../../access/access-control.ts';
import { groupOwnerCheck, requireNamespaceAccess, type NamespaceAccess, type NamespacePrivileges } from '../../../access/datastore-access.ts';
import { errorCode, HttpError } from '../../../base/errors.ts';
import { backupId, backupTime, backupType, datastoreName, namespace } from '../../../config/schemas.ts';
import type { Datastore } from '../../../datastore/datastore.ts';
import { readOwner } from '../../../datastore/groups.ts';
import { snapshotText, type BackupGroup, type BackupSnapshot, type BackupType } from '../../../format/backup-path.ts';
import type { Datastores, Operation } from '../../datastores.ts';
import type { Caller } from '../../endpoint.ts';

/** What the endpoints of a datastore's content have in common (spec rest-api 10.2). */

export interface ContentParts {
  datastores: Datastores;
  access: AccessControl;
}

export const contentPath = '/admin/datastore/{store}';

export const storeParameters = { store: datastoreName };
export const namespaceParameters = { ...storeParameters, ns: Type.Optional(namespace) };
export const groupParameters = { ...namespaceParameters, 'backup-id': backupId, 'backup-type': backupType };
export const snapshotParameters = { ...groupParameters, 'backup-time': backupTime };

export interface NamespaceChoice {
  store: string;
  ns?: string | undefined;
}

export interface GroupChoice extends NamespaceChoice {
  'backup-id': string;
  'backup-type': BackupType;
}

export interface SnapshotChoice extends GroupChoice {
  'backup-time': number;
}

export function groupOf(p: GroupChoice): BackupGroup {
  return { type: p['backup-type'], id: p['backup-id'] };
}

export function snapshotOf(p: SnapshotChoice): BackupSnapshot {
  return { ...groupOf(p), time: p['backup-time'] };
}

/** A namespace of an open datastore, and how far its caller may go there. */
export interface OpenNamespace {
  store: Datastore;
  namespace: string;
  granted: NamespaceAccess;
}

/** Checks the privileges on the namespace, then opens the datastore for `work`: nobody learns of datastores that he has no business with. */
export async function inNamespace<T>(parts: ContentParts, { authId }: Caller, p: NamespaceChoice, wanted: NamespacePrivileges, operation: Operation, work: (open: OpenNamespace) => Promise<T>): Promise<T> {
  const ns = p.ns ?? '';
  const granted = requireNamespaceAccess(parts.access, authId, p.store, ns, wanted);
  return parts.datastores.use(p.store, operation, (store) => work({ store, namespace: ns, granted }));
}

/** The same for one group: who has access to own groups only must own it. */
export async function inGroup<T>(parts: ContentParts, caller: Caller, p: GroupChoice, wanted: NamespacePrivileges, operation: Operation, work: (store: Datastore, namespace: string) => Promise<T>): Promise<T> {
  return inNamespace(parts, caller, p, wanted, operation, async ({ store, namespace: ns, granted }) => {
    if (granted === 'own') groupOwnerCheck(granted, caller.authId, await readOwner(store, ns, groupOf(p)));
    return work(store, ns);
  });
}

/** A snapshot or manifest that is not there in the words that clients know (spec rest-api 3.2); any other error as it is. */
export function manifestNotFound(e: unknown, snapshot: BackupSnapshot): unknown {
  return errorCode(e) === 'store.no-such-snapshot' || isManifestMissing(e) ? new HttpError(400, `manifest not found for snapshot '${snapshotText(snapshot)}'`, { cause: e }) : e;
}

/** The same where notes are read or written: the reference names the file then (observed). */
export function manifestNotLoaded(e: unknown, prefix = ''): unknown {
  return e instanceof Error && isManifestMissing(e) ? new HttpError(400, `${prefix}${e.message} - No such file or directory (os error 2)`, { cause: e }) : e;
}

function isManifestMissing(e: unknown): boolean {
  return errorCode(e) === 'store.manifest' && e instanceof Error && errorCode(e.cause) === 'store.missing';
}
