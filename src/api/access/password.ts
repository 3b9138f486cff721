import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import type { AccountChanger, Accounts } from '../../access/accounts.ts';
import type { Login } from '../../access/login.ts';
import { HttpError } from '../../base/errors.ts';
import { givenPassword, password, userId } from '../../config/schemas.ts';
import { superuser } from '../../config/user-config.ts';
import { realmOf, tokenNameOf } from '../../format/auth-id.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { requireOwnPassword } from './own-password.ts';

export interface PasswordEndpointParts {
  accounts: Accounts;
  changer: AccountChanger;
  login: Login;
  access: AccessControl;
}

/** Change of a password (spec rest-api 6.3). */
export function passwordEndpoints(parts: PasswordEndpointParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'PUT',
      path: '/access/password',
      description: 'Change user password.',
      parameters: Type.Object({ userid: userId, password, 'confirmation-password': Type.Optional(givenPassword) }),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        if (tokenNameOf(caller.authId) !== null) throw new HttpError(400, 'API tokens cannot access this API endpoint');
        if (!mayChange(parts.access, caller.authId, given.userid)) throw new HttpError(400, 'you are not authorized to change the password.');
        await requireOwnPassword(parts.login, caller.authId, given['confirmation-password']);
        if (parts.accounts.findUser(given.userid) === undefined) throw new HttpError(401, `user '${given.userid}' does not exists.`);
        await parts.changer.setPassword(given.userid, given.password);
      },
    }),
  ];
}

function mayChange(access: AccessControl, caller: string, userid: string): boolean {
  if (caller === superuser || caller === userid) return true;
  return realmOf(userid) !== 'pam' && access.check(caller, '/', ['Permissions.Modify']);
}
