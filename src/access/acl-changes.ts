import { ConfigError, HttpError } from '../base/errors.ts';
import type { AclEntry, AclFile } from '../config/acl-config.ts';
import { isCreatableAclPath } from '../config/acl-path.ts';
import { findRole, privileges as allPrivileges, type Privilege } from '../config/privileges.ts';
import { isAuthId, tokenNameOf, userOf } from '../format/auth-id.ts';
import type { AccessControl, MissingPrivileges } from './access-control.ts';
import type { Accounts } from './accounts.ts';

/** Reading and changing acl.cfg as `/access/acl` and `/access/permissions` do it (spec rest-api 10.5). */

export interface AclItem {
  path: string;
  propagate: boolean;
  roleid: string;
  ugid: string;
  ugid_type: 'user' | 'group';
}

function itemOf({ path, propagate, role, subject }: AclEntry): AclItem {
  return subject.startsWith('@')
    ? { path, propagate, roleid: role, ugid: subject.slice(1), ugid_type: 'group' }
    : { path, propagate, roleid: role, ugid: subject, ugid_type: 'user' };
}

/**
 * Entries on `path` and below it (`exact`: only on it), of everybody for a caller with Sys.Audit on /access/acl,
 * otherwise of the caller's tokens.
 */
export function listAcl(file: AclFile, access: AccessControl, caller: string, filter: { path?: string | undefined; exact?: boolean | undefined } = {}): { items: AclItem[]; digest: string } {
  const { value, digest } = file.load();
  const seesAll = access.check(caller, '/access/acl', ['Sys.Audit']);
  const isOwnToken = (subject: string): boolean => isAuthId(subject) && tokenNameOf(subject) !== null && userOf(subject) === caller;
  const top = filter.path === undefined || filter.path === '/' ? '' : filter.path;
  const isWanted = (path: string): boolean =>
    filter.path === undefined || path === filter.path || (filter.exact !== true && path.startsWith(`${top}/`));
  const items = value.entries().filter((entry) => isWanted(entry.path) && (seesAll || isOwnToken(entry.subject))).map(itemOf);
  return { items, digest };
}

/** Path → privilege → whether it propagates; paths without privileges left out. Without `path`: the usual ones and all that have entries. */
export function permissionsOf(file: AclFile, access: AccessControl, authId: string, path?: string): Record<string, Record<string, boolean>> {
  const paths = path === undefined ? ['/', '/access', '/datastore', '/remote', '/system', ...file.load().value.paths()] : [path];
  const found: Record<string, Record<string, boolean>> = {};
  for (const one of [...new Set(paths)].sort()) {
    const { all, propagated } = access.privileges(authId, one);
    if (all.size === 0) continue;
    found[one] = Object.fromEntries([...all].sort().map((privilege) => [privilege, propagated.has(privilege)]));
  }
  return found;
}

export interface AclChange {
  path: string;
  role: string;
  authId: string;
  /** Default true. */
  propagate?: boolean | undefined;
  delete?: boolean | undefined;
  digest?: string | undefined;
}

export interface AclChangeParts {
  acl: AclFile;
  access: AccessControl;
  accounts: Accounts;
}

/** Permissions.Modify on /access/acl, or a user for his own tokens. */
export function mayChangeAcl(access: AccessControl, caller: string, authId: string): boolean {
  if (access.check(caller, '/access/acl', ['Permissions.Modify'])) return true;
  return tokenNameOf(authId) !== null && userOf(authId) === caller;
}

/**
 * Adds or takes away a role, after checking that `caller` may. Returns what of the role stays without effect because the
 * token's user lacks it, or null: a grant that does nothing is the usual reason for "no permissions" on a sync.
 */
export async function changeAcl(parts: AclChangeParts, caller: string, change: AclChange): Promise<MissingPrivileges | null> {
  const { acl, access, accounts } = parts;
  const { path, role, authId } = change;
  if (!mayChangeAcl(access, caller, authId)) throw new HttpError(400, 'Unprivileged users can only set ACL items for their own API tokens.');
  if (change.delete === true) {
    await acl.update((tree) => {
      tree.remove(path, authId, role);
    }, change);
    return null;
  }
  if (!accounts.exists(authId)) throw new ConfigError('config.missing', tokenNameOf(authId) === null ? 'no such user.' : 'no such API token.');
  if (!isCreatableAclPath(path)) throw new ConfigError('config.value', `invalid acl path '${path}'.`);
  await acl.update((tree) => {
    tree.insert({ path, subject: authId, role, propagate: change.propagate !== false });
  }, change);
  const granted = findRole(role)?.privileges ?? [];
  return granted.length === 0 || tokenNameOf(authId) === null ? null : access.explainMissing(authId, path, granted);
}

/** Items of `/access/roles`. */
export function roleItem(name: string): { roleid: string; privs: Privilege[]; comment: string } | null {
  const role = findRole(name);
  if (role === undefined) return null;
  const has = new Set(role.privileges);
  return { roleid: role.name, privs: allPrivileges.filter((privilege) => has.has(privilege)), comment: role.comment };
}
