import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import type { Accounts } from '../../access/accounts.ts';
import { changeAcl, listAcl } from '../../access/acl-changes.ts';
import { HttpError } from '../../base/errors.ts';
import type { ProgressLog } from '../../base/log.ts';
import type { AclFile } from '../../config/acl-config.ts';
import { roles } from '../../config/privileges.ts';
import { aclPath, authId, configDigest, flag, oneOf } from '../../config/schemas.ts';
import { tokenNameOf } from '../../format/auth-id.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';

export interface AclEndpointParts {
  acl: AclFile;
  access: AccessControl;
  accounts: Accounts;
  /** The server's log: told of grants that have no effect yet. */
  log: ProgressLog;
}

const { Optional } = Type;

/** Access control list (spec rest-api 10.5). */
export function aclEndpoints(parts: AclEndpointParts): Endpoint[] {
  const { acl, access, log } = parts;
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/acl',
      description: 'Read Access Control List (ACLs).',
      parameters: Type.Object({ path: Optional(aclPath), exact: Optional(flag('Only entries of the path itself.', { default: false })) }),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        const { items, digest } = listAcl(acl, access, caller.authId, given);
        return new Reply(items, { digest });
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/access/acl',
      description: 'Update Access Control List (ACLs).',
      parameters: Type.Object({
        path: aclPath,
        role: oneOf(roles.map(({ name }) => name), 'Role: a named set of privileges.'),
        'auth-id': Optional(authId),
        group: Optional(Type.String({ pattern: '^[^\\s:/\\x00-\\x1f\\x7f]+$', minLength: 3, maxLength: 64, description: 'Group ID.' })),
        propagate: Optional(flag('Allow to propagate (inherit) permissions.', { default: true })),
        delete: Optional(flag('Remove permissions (instead of adding it).')),
        digest: Optional(configDigest),
      }),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        const subject = subjectOf(access, caller.authId, given);
        const { path, role, propagate, delete: remove, digest } = given;
        const missing = await changeAcl(parts, caller.authId, { path, role, authId: subject, propagate, delete: remove, digest });
        if (missing !== null) log.info(`role ${role} of '${subject}' has no full effect yet: ${missing.text}`);
      },
    }),
  ];
}

/** Whose entry is changed. HttpError 400, in the reference's words, when that is nobody, a group, or nobody the caller may change. */
function subjectOf(access: AccessControl, caller: string, given: { 'auth-id'?: string; group?: string }): string {
  const subject = given['auth-id'];
  if (!access.check(caller, '/access/acl', ['Permissions.Modify'])) {
    if (tokenNameOf(caller) !== null) throw new HttpError(400, "Unprivileged API tokens can't set ACL items.");
    if (given.group !== undefined) throw new HttpError(400, 'Unprivileged users are not allowed to create group ACL item.');
    if (subject === undefined) throw new HttpError(400, 'Unprivileged user needs to provide auth_id to update ACL item.');
    if (tokenNameOf(subject) === null) throw new HttpError(400, 'Unprivileged users can only set ACL items for API tokens.');
  }
  if (given.group !== undefined) throw new HttpError(400, "parameter 'group' - groups are currently not supported.");
  if (subject === undefined) throw new HttpError(400, "missing 'userid' or 'group' parameter.");
  return subject;
}
