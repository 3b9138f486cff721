import assert from 'node:assert/strict';
import { HttpError } from '../base/errors.ts';
import { aclPathComponents, type AclFile, type AclNode, type AclTree, type RolesOnNode } from '../config/acl-config.ts';
import { findRole, privileges as allPrivileges, roles as allRoles, type Privilege } from '../config/privileges.ts';
import { superuser } from '../config/user-config.ts';
import { tokenNameOf, userOf } from '../format/auth-id.ts';

/** What an auth-id may do on one path. */
export interface EffectivePrivileges {
  readonly all: ReadonlySet<Privilege>;
  /** The part that also holds for paths below. */
  readonly propagated: ReadonlySet<Privilege>;
}

/** Who lacks what; see `explainMissing`. */
export interface MissingPrivileges {
  path: string;
  /** In canonical order. */
  missing: Privilege[];
  /** The token, its user, or both: whose ACL entries do not give it. */
  lacking: Array<{ subject: string; kind: 'user' | 'token'; privileges: Privilege[] }>;
  /** One sentence for people. */
  text: string;
  /** Commands that grant it, one for each that lacks something. */
  commands: string[];
}

const everything: EffectivePrivileges = { all: new Set(allPrivileges), propagated: new Set(allPrivileges) };

function privilegesOf(roles: RolesOnNode): EffectivePrivileges {
  const all = new Set<Privilege>();
  const propagated = new Set<Privilege>();
  for (const [role, propagates] of roles) {
    for (const privilege of findRole(role)?.privileges ?? []) {
      all.add(privilege);
      if (propagates) propagated.add(privilege);
    }
  }
  return { all, propagated };
}

/** Entries of a subject at a node that apply: all at the node asked for, only the propagating ones above it. */
function applicable(node: AclNode, subject: string, isLast: boolean): RolesOnNode | null {
  const roles = node.entries.get(subject);
  if (roles === undefined) return null;
  const kept = new Map([...roles].filter(([, propagates]) => isLast || propagates));
  if (kept.size === 0) return null;
  // NoAccess beats whatever else is granted at the same node.
  return kept.has('NoAccess') ? new Map([['NoAccess', kept.get('NoAccess')!]]) : kept;
}

/** Roles of one subject on a path (spec rest-api 7.4): entries further down replace those above. */
function rolesOn(tree: AclTree, subject: string, path: string): RolesOnNode {
  const components = aclPathComponents(path);
  let roles = applicable(tree.root, subject, components.length === 0) ?? new Map<string, boolean>();
  let node: AclNode | undefined = tree.root;
  for (const [i, component] of components.entries()) {
    node = node.children.get(component);
    if (node === undefined) break;
    roles = applicable(node, subject, i === components.length - 1) ?? roles;
  }
  return roles;
}

function intersection(a: ReadonlySet<Privilege>, b: ReadonlySet<Privilege>): Set<Privilege> {
  return new Set([...a].filter((privilege) => b.has(privilege)));
}

function inOrder(wanted: Iterable<Privilege>): Privilege[] {
  const set = new Set(wanted);
  return allPrivileges.filter((privilege) => set.has(privilege));
}

/** Entries that give a subject nothing anywhere else but below `path` are found by walking the nodes there. */
function pathsBelow(tree: AclTree, path: string, subjects: readonly string[]): string[] {
  const top = tree.find(path);
  if (top === undefined) return [];
  const base = aclPathComponents(path).map((component) => `/${component}`).join('');
  const found: string[] = [];
  const walk = (at: string, node: AclNode): void => {
    for (const [name, child] of node.children) {
      const childPath = `${at}/${name}`;
      if (subjects.some((subject) => child.entries.has(subject))) found.push(childPath);
      walk(childPath, child);
    }
  };
  walk(base, top);
  return found;
}

/** The smallest role that has all of `wanted`. */
export function smallestRole(wanted: readonly Privilege[]): string {
  const fitting = allRoles.filter((role) => wanted.every((privilege) => role.privileges.includes(privilege)));
  const smallest = fitting.reduce<(typeof fitting)[number] | null>((best, role) => (best === null || role.privileges.length < best.privileges.length ? role : best), null);
  assert.ok(smallest !== null, 'Admin has all privileges');
  return smallest.name;
}

/** Decides who may do what (spec rest-api 7.3, 7.4) by the current acl.cfg. */
export class AccessControl {
  readonly #acl: AclFile;

  constructor(acl: AclFile) {
    this.#acl = acl;
  }

  /** Effective privileges; a token has those that its own entries and its user both give. */
  privileges(authId: string, path: string): EffectivePrivileges {
    if (authId === superuser) return everything;
    const tree = this.#acl.load().value;
    const own = privilegesOf(rolesOn(tree, authId, path));
    if (tokenNameOf(authId) === null) return own;
    const user = userOf(authId);
    const users = user === superuser ? everything : privilegesOf(rolesOn(tree, user, path));
    return { all: intersection(own.all, users.all), propagated: intersection(own.propagated, users.propagated) };
  }

  /** True when `authId` has all (`partial`: at least one) of `wanted` on `path`. */
  check(authId: string, path: string, wanted: readonly Privilege[], options: { partial?: boolean } = {}): boolean {
    assert.ok(wanted.length > 0, 'a check names privileges');
    const { all } = this.privileges(authId, path);
    return options.partial === true ? wanted.some((privilege) => all.has(privilege)) : wanted.every((privilege) => all.has(privilege));
  }

  /**
   * The same as an exception, for handlers that check by themselves: `missing permissions 'A&B' on '/path'` (`|` when any
   * suffices), status 400 unless told otherwise (spec rest-api 3.2). In `hint`: who lacks what.
   */
  require(authId: string, path: string, wanted: readonly Privilege[], options: { partial?: boolean; status?: number } = {}): void {
    if (this.check(authId, path, wanted, options)) return;
    const names = inOrder(wanted).join(options.partial === true ? '|' : '&');
    throw new HttpError(options.status ?? 400, `missing permissions '${names}' on '${path}'`);
  }

  /**
   * True when any of `wanted` holds somewhere below `path`, or propagates from it (spec rest-api 7.4, used for listing).
   */
  anyPrivilegeBelow(authId: string, path: string, wanted: readonly Privilege[] = allPrivileges): boolean {
    if (authId === superuser) return wanted.length > 0;
    const { propagated } = this.privileges(authId, path);
    if (wanted.some((privilege) => propagated.has(privilege))) return true;
    // Of a token also where only its user has entries: its own may come from above.
    const below = pathsBelow(this.#acl.load().value, path, [authId, userOf(authId)]);
    return below.some((one) => this.check(authId, one, wanted, { partial: true }));
  }

  /**
   * Why `authId` does not have all of `wanted` on `path`: whether the token or its user lacks it. Null when nothing is missing.
   * For administrators (`acl update`, `remote test`); never tell it to a caller who lacks the privilege.
   */
  explainMissing(authId: string, path: string, wanted: readonly Privilege[]): MissingPrivileges | null {
    const has = this.privileges(authId, path).all;
    const missing = inOrder(wanted.filter((privilege) => !has.has(privilege)));
    if (missing.length === 0) return null;
    const tree = this.#acl.load().value;
    const lacking: MissingPrivileges['lacking'] = [];
    const look = (subject: string, kind: 'user' | 'token'): void => {
      if (subject === superuser) return;
      const own = privilegesOf(rolesOn(tree, subject, path)).all;
      const lacks = missing.filter((privilege) => !own.has(privilege));
      if (lacks.length > 0) lacking.push({ subject, kind, privileges: lacks });
    };
    if (tokenNameOf(authId) !== null) look(authId, 'token');
    look(userOf(authId), 'user');
    return { path, missing, lacking, text: explanation(authId, path, lacking), commands: lacking.map((one) => grantCommand(one.subject, path, one.privileges)) };
  }
}

function explanation(authId: string, path: string, lacking: MissingPrivileges['lacking']): string {
  const parts = lacking.map(({ subject, kind, privileges }) => `${kind === 'token' ? 'API token' : 'user'} '${subject}' lacks ${privileges.join(', ')}`);
  const rule = tokenNameOf(authId) === null ? '' : ' (a token can do only what both it and its user may do)';
  return `on '${path}' ${parts.join(', and ')}${rule}`;
}

function grantCommand(subject: string, path: string, wanted: readonly Privilege[]): string {
  return `farshore acl update ${path} ${smallestRole(wanted)} --auth-id '${subject}'`;
}
