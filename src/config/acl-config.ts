import assert from 'node:assert/strict';
import { ConfigError } from '../base/errors.ts';
import { isAuthId } from '../format/auth-id.ts';
import { ConfigFile, type Codec } from './config-file.ts';
import { sharedPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { isRole } from './privileges.ts';
import { superuser } from './user-config.ts';

/** acl.cfg (spec rest-api 7.7): roles of auth-ids on paths. Comment lines are kept, at the top. */

/** role → does it propagate to paths below */
export type RolesOnNode = Map<string, boolean>;

export interface AclNode {
  /** By auth-id, or `@group`. */
  readonly entries: Map<string, RolesOnNode>;
  readonly children: Map<string, AclNode>;
}

export interface AclEntry {
  path: string;
  /** Auth-id, or `@group`. */
  subject: string;
  role: string;
  propagate: boolean;
}

const maxPathLength = 4096;
const maxDepth = 64;

function emptyNode(): AclNode {
  return { entries: new Map(), children: new Map() };
}

/** Components of an ACL path; empty ones are dropped, `/` has none. */
export function aclPathComponents(path: string): string[] {
  return path.split('/').filter((component) => component !== '');
}

const byCodePoint = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

export class AclTree {
  readonly root: AclNode = emptyNode();
  readonly comments: string[] = [];

  /** The node of `path`, or undefined. */
  find(path: string): AclNode | undefined {
    let node: AclNode | undefined = this.root;
    for (const component of aclPathComponents(path)) node = node?.children.get(component);
    return node;
  }

  /** Adds a role. NoAccess replaces the other roles of that subject on the path, another role removes NoAccess. */
  insert(entry: AclEntry): void {
    assert.ok(isRole(entry.role), 'roles are fixed');
    let node = this.root;
    for (const component of aclPathComponents(entry.path)) {
      let child = node.children.get(component);
      if (child === undefined) {
        child = emptyNode();
        node.children.set(component, child);
      }
      node = child;
    }
    const roles = node.entries.get(entry.subject) ?? new Map<string, boolean>();
    if (entry.role === 'NoAccess') roles.clear();
    else roles.delete('NoAccess');
    roles.set(entry.role, entry.propagate);
    node.entries.set(entry.subject, roles);
  }

  /** Takes one role away; false when it was not there. */
  remove(path: string, subject: string, role: string): boolean {
    const node = this.find(path);
    const roles = node?.entries.get(subject);
    if (node === undefined || roles === undefined || !roles.delete(role)) return false;
    if (roles.size === 0) node.entries.delete(subject);
    return true;
  }

  /** Takes all entries of a subject away (a deleted token); true when there were any. */
  removeSubject(subject: string): boolean {
    let found = false;
    const walk = (node: AclNode): void => {
      if (node.entries.delete(subject)) found = true;
      for (const child of node.children.values()) walk(child);
    };
    walk(this.root);
    return found;
  }

  /** Takes everything on and below a path away (a deleted datastore). */
  removeSubtree(path: string): void {
    const components = aclPathComponents(path);
    const last = components.pop();
    if (last === undefined) {
      this.root.entries.clear();
      this.root.children.clear();
    } else {
      this.find(components.join('/'))?.children.delete(last);
    }
  }

  /** All entries, depth first, children sorted; per node by subject, then role. */
  entries(): AclEntry[] {
    const found: AclEntry[] = [];
    this.#walk((path, node) => {
      for (const subject of [...node.entries.keys()].sort(byCodePoint)) {
        for (const [role, propagate] of [...node.entries.get(subject)!].sort(([a], [b]) => byCodePoint(a, b))) found.push({ path, subject, role, propagate });
      }
    });
    return found;
  }

  /** Paths that have entries. */
  paths(): string[] {
    const found: string[] = [];
    this.#walk((path, node) => {
      if (node.entries.size > 0) found.push(path);
    });
    return found;
  }

  #walk(visit: (path: string, node: AclNode) => void): void {
    const walk = (path: string, node: AclNode): void => {
      visit(path === '' ? '/' : path, node);
      for (const name of [...node.children.keys()].sort(byCodePoint)) walk(`${path}/${name}`, node.children.get(name)!);
    };
    walk('', this.root);
  }

  /** As the reference writes it: per node propagate 0, then 1; roles with the same subjects on one line, lines by subjects. */
  serialize(): string {
    const lines = [...this.comments];
    this.#walk((path, node) => {
      for (const propagates of [false, true]) lines.push(...nodeLines(path, node, propagates));
    });
    return lines.map((line) => `${line}\n`).join('');
  }

  clone(): AclTree {
    const copy = new AclTree();
    copy.comments.push(...this.comments);
    for (const entry of this.entries()) copy.insert(entry);
    return copy;
  }
}

function nodeLines(path: string, node: AclNode, propagates: boolean): string[] {
  const subjectsOfRole = new Map<string, string[]>();
  for (const [subject, roles] of node.entries) {
    // The superuser passes every check; the reference does not store entries for it.
    if (subject === superuser) continue;
    for (const [role, propagate] of roles) {
      if (propagate !== propagates) continue;
      subjectsOfRole.set(role, [...(subjectsOfRole.get(role) ?? []), subject]);
    }
  }
  const rolesOfSubjects = new Map<string, string[]>();
  for (const [role, subjects] of subjectsOfRole) {
    const key = subjects.sort(byCodePoint).join(',');
    rolesOfSubjects.set(key, [...(rolesOfSubjects.get(key) ?? []), role]);
  }
  return [...rolesOfSubjects]
    .sort(([a], [b]) => byCodePoint(a, b))
    .map(([subjects, roles]) => `acl:${propagates ? 1 : 0}:${path}:${subjects}:${roles.sort(byCodePoint).join(',')}`);
}

function subjectProblem(subject: string): string | null {
  if (subject.startsWith('@')) return /^@[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(subject) ? null : `invalid group id '${subject}'`;
  return isAuthId(subject) ? null : `invalid auth id '${subject}'`;
}

function parseLine(line: string, tree: AclTree): string | null {
  const fields = line.split(':');
  if (fields.length !== 5) return 'wrong number of items.';
  const [word, propagate, path, subjects, roles] = fields as [string, string, string, string, string];
  if (word !== 'acl') return 'line does not start with "acl".';
  if (propagate !== '0' && propagate !== '1') return `expected '0' or '1' for propagate flag.`;
  if (!path.startsWith('/') || path.length > maxPathLength) return `path '${path}' is not an absolute path.`;
  const components = aclPathComponents(path);
  if (components.length > maxDepth || components.some((component) => component.startsWith('.'))) return `path '${path}' is not usable.`;
  for (const subject of subjects.split(',').map((one) => one.trim())) {
    const problem = subjectProblem(subject);
    if (problem !== null) return problem;
    for (const role of roles.split(',').map((one) => one.trim())) {
      if (!isRole(role)) return `unknown role '${role}'`;
      tree.insert({ path, subject, role, propagate: propagate === '1' });
    }
  }
  return null;
}

const aclCodec: Codec<AclTree> = {
  /** One bad line fails the whole file: a permission that is not understood must not be dropped in silence. */
  parse(text, fileName) {
    const tree = new AclTree();
    for (const [i, raw] of text.split('\n').entries()) {
      const line = raw.trim();
      if (line === '') continue;
      if (line.startsWith('#')) {
        tree.comments.push(line);
        continue;
      }
      const problem = parseLine(line, tree);
      if (problem !== null) {
        throw new ConfigError('config.syntax', `unable to parse acl config "${fileName}", line ${i + 1} - ${problem}`, {
          hint: `correct ${fileName} by hand; nobody but root@pam has permissions until then`,
        });
      }
    }
    return tree;
  },
  serialize: (tree) => tree.serialize(),
  clone: (tree) => tree.clone(),
};

export type AclFile = ConfigFile<AclTree>;

export function aclFile(paths: InstallationPaths): AclFile {
  return new ConfigFile(sharedPlace(paths, 'acl.cfg'), aclCodec);
}
