import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { permissionsOf } from '../../access/acl-changes.ts';
import { HttpError } from '../../base/errors.ts';
import type { AclFile } from '../../config/acl-config.ts';
import { aclPath, authId } from '../../config/schemas.ts';
import { tokenNameOf, userOf } from '../../format/auth-id.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

const { Optional } = Type;

/** Effective privileges by path (spec rest-api 10.5). */
export function permissionEndpoints({ acl, access }: { acl: AclFile; access: AccessControl }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/permissions',
      description: 'List permissions of given or currently authenticated user / API token.',
      parameters: Type.Object({ 'auth-id': Optional(authId), path: Optional(aclPath) }),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        const subject = given['auth-id'] ?? caller.authId;
        if (!maySee(access, caller.authId, subject)) throw new HttpError(400, `not allowed to list permissions of ${subject}`);
        return permissionsOf(acl, access, subject, given.path);
      },
    }),
  ];
}

/** Oneself, one's own tokens, and with Sys.Audit on /access everybody. */
function maySee(access: AccessControl, caller: string, subject: string): boolean {
  return subject === caller || (tokenNameOf(subject) !== null && userOf(subject) === caller) || access.check(caller, '/access', ['Sys.Audit']);
}
