import type { AccessControl } from '../access/access-control.ts';
import { namespaceAclPath } from '../access/datastore-access.ts';
import type { Privilege } from '../config/privileges.ts';
import type { GroupAccess } from '../datastore/group-walk.ts';
import { isOwner } from '../format/auth-id.ts';

/** Without one of these a level of namespaces is not entered, whatever else its caller holds there. */
const entering: readonly Privilege[] = ['Datastore.Modify', 'Datastore.Read', 'Datastore.Backup', 'Datastore.Audit'];

export interface WalkPrivileges {
  /** Any of these gives all groups of a level. */
  override: readonly Privilege[];
  /** Gives own groups; null: nothing does. */
  owner: Privilege | null;
}

/** What `authId` may touch in each namespace of `store` (spec retention 1.2), for walkGroups. */
export function walkAccess(access: AccessControl, authId: string, store: string, wanted: WalkPrivileges): (namespace: string) => GroupAccess {
  return (namespace) => {
    const { all } = access.privileges(authId, namespaceAclPath(store, namespace));
    if (!entering.some((privilege) => all.has(privilege))) return 'none';
    if (wanted.override.some((privilege) => all.has(privilege))) return 'all';
    if (wanted.owner === null || !all.has(wanted.owner)) return 'none';
    return (owner) => isOwner(owner, authId);
  };
}
