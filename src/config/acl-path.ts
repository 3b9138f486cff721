import { scalarProblem } from './schema-check.ts';
import { aclPath } from './schemas.ts';

/** Which ACL paths may be created (spec rest-api 7.5). */

const systemPages = new Set(['certificates', 'disks', 'log', 'notifications', 'status', 'tasks', 'time']);
const accessPages = new Set(['acl', 'users', 'domains']);
/** Namespaces have 7 levels at most. */
const maxNamespaceDepth = 7;

function isSystemPath(rest: readonly string[]): boolean {
  const [page, item, name] = rest;
  if (page === undefined) return true;
  if (page === 'network') {
    if (item === undefined) return true;
    if (item === 'dns') return rest.length === 2;
    return item === 'interfaces' && (name === undefined || rest.length === 3);
  }
  if (page === 'services' || page === 's3-endpoint' || page === 'encryption-keys') return rest.length <= 2;
  return systemPages.has(page) && rest.length === 1;
}

function isAccessPath(rest: readonly string[]): boolean {
  const [page] = rest;
  if (page === undefined) return true;
  if (page === 'openid') return rest.length <= 2;
  return accessPages.has(page) && rest.length === 1;
}

function isTapePath(rest: readonly string[]): boolean {
  const [page] = rest;
  return page === undefined || (['device', 'pool', 'job'].includes(page) && rest.length <= 2);
}

/** True for `/` and the paths that privileges are checked on. Entries on others may be deleted, not made. */
export function isCreatableAclPath(path: string): boolean {
  if (scalarProblem(aclPath, path) !== null) return false;
  if (path === '/') return true;
  const [area, ...rest] = path.slice(1).split('/');
  switch (area ?? '') {
    case 'access':
      return isAccessPath(rest);
    case 'datastore':
      return rest.length <= 1 + maxNamespaceDepth;
    case 'remote':
      return rest.length <= 2 + maxNamespaceDepth;
    case 'system':
      return isSystemPath(rest);
    case 'tape':
      return isTapePath(rest);
    default:
      return false;
  }
}
