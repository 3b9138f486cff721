import { HttpError } from '../base/errors.ts';
import { privileges as allPrivileges, type Privilege } from '../config/privileges.ts';
import { isOwner } from '../format/auth-id.ts';
import type { AccessControl } from './access-control.ts';

/** Rules for what lies in a datastore (spec rest-api 7.5, 7.6, 10.2), the same for every endpoint. */

/** ACL path of a namespace: `/datastore/{store}[/{ns}]`. */
export function namespaceAclPath(store: string, namespace: string): string {
  return namespace === '' ? `/datastore/${store}` : `/datastore/${store}/${namespace}`;
}

/** `full`: every group; `own`: only groups that pass `groupOwnerCheck`. */
export type NamespaceAccess = 'full' | 'own';

export interface NamespacePrivileges {
  /** Any of these gives access to every group. */
  full: readonly Privilege[];
  /** Any of these gives access to own groups. */
  own?: readonly Privilege[];
}

/** How far `authId` may go in a namespace; null for not at all. */
export function namespaceAccess(access: AccessControl, authId: string, store: string, namespace: string, wanted: NamespacePrivileges): NamespaceAccess | null {
  const { all } = access.privileges(authId, namespaceAclPath(store, namespace));
  if (wanted.full.some((privilege) => all.has(privilege))) return 'full';
  return wanted.own?.some((privilege) => all.has(privilege)) === true ? 'own' : null;
}

/** The same; HttpError 403 in the reference's words when there is no access. */
export function requireNamespaceAccess(access: AccessControl, authId: string, store: string, namespace: string, wanted: NamespacePrivileges): NamespaceAccess {
  const granted = namespaceAccess(access, authId, store, namespace, wanted);
  if (granted !== null) return granted;
  const asked = new Set([...wanted.full, ...(wanted.own ?? [])]);
  const names = allPrivileges.filter((privilege) => asked.has(privilege)).join('|');
  throw new HttpError(403, `permission check failed - missing ${names} on ${namespaceAclPath(store, namespace)}`);
}

/**
 * HttpError 400 `backup owner check failed (CALLER != OWNER)`; with `full` access everything passes. The caller must be the owner, or
 * the owner a token of the calling user: a token does not own its user's groups (spec rest-api 7.6).
 */
export function groupOwnerCheck(granted: NamespaceAccess, caller: string, owner: string): void {
  if (granted === 'full' || isOwner(owner, caller)) return;
  throw new HttpError(400, `backup owner check failed (${caller} != ${owner})`);
}
