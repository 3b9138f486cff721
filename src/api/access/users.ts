import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import type { AccountChanger, Accounts } from '../../access/accounts.ts';
import { HttpError } from '../../base/errors.ts';
import { comment, configDigest, deletable, email, enable, expire, flag, givenPassword, password, personName, userId } from '../../config/schemas.ts';
import { superuser } from '../../config/user-config.ts';
import { realmOf, userOf } from '../../format/auth-id.ts';
import { jsonEndpoint, Reply, type Endpoint, type Permission } from '../endpoint.ts';

export interface UserEndpointParts {
  accounts: Accounts;
  changer: AccountChanger;
  access: AccessControl;
}

const { Optional } = Type;

const self: Permission = { kind: 'self' };
export const modify: Permission = { kind: 'privilege', path: '/access/users', privileges: ['Permissions.Modify'] };
export const auditOrSelf: Permission = { kind: 'or', of: [{ kind: 'privilege', path: '/access/users', privileges: ['Sys.Audit'] }, self] };
export const modifyOrSelf: Permission = { kind: 'or', of: [modify, self] };

const userFields = {
  comment: Optional(comment),
  email: Optional(email),
  enable: Optional(enable),
  expire: Optional(expire),
  firstname: Optional(personName('First name.')),
  lastname: Optional(personName('Last name.')),
};
const digest = Optional(configDigest);

/** Users (spec rest-api 10.5, 11); their tokens are in user-tokens.ts. */
export function userEndpoints(parts: UserEndpointParts): Endpoint[] {
  const { accounts, changer } = parts;
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/users',
      description: 'List users.',
      parameters: Type.Object({ include_tokens: Optional(flag('Include the API tokens of each user.', { default: false })) }),
      permission: { kind: 'any' },
      handler: async (given, caller) => listUsers(parts, caller.authId, given.include_tokens === true),
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/access/users',
      description: 'Create new user.',
      parameters: Type.Object({ userid: userId, password: Optional(password), ...userFields }),
      permission: modify,
      handler: async ({ password: first, ...record }, caller) => {
        if (first !== undefined && realmOf(record.userid) === 'pam' && caller.authId !== superuser) throw new HttpError(400, 'only superuser can edit pam credentials!');
        await changer.createUser(record, { password: first });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/access/users/{userid}',
      description: 'Read user configuration.',
      parameters: Type.Object({ userid: userId }),
      permission: auditOrSelf,
      handler: async ({ userid }) => new Reply(accounts.getUser(userid), { digest: accounts.users().digest }),
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/access/users/{userid}',
      description: 'Update user configuration.',
      parameters: Type.Object({
        userid: userId,
        // Taken, and without effect, as in the reference: passwords are changed by /access/password, which asks for the old one.
        password: Optional(givenPassword),
        ...userFields,
        delete: Optional(deletable(['comment', 'firstname', 'lastname', 'email'])),
        digest,
      }),
      permission: modifyOrSelf,
      handler: async ({ userid, password: _ignored, delete: names, digest: expected, ...set }) => {
        await changer.updateUser(userid, { delete: names, set }, { digest: expected });
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/access/users/{userid}',
      description: 'Remove a user with password, tokens and the access control entries of the tokens.',
      parameters: Type.Object({ userid: userId, digest }),
      permission: modifyOrSelf,
      handler: async ({ userid, digest: expected }) => {
        await changer.deleteUser(userid, { digest: expected });
      },
    }),
  ];
}

/** All users for a caller with Sys.Audit on /access/users, otherwise the calling user only, to which a token counts. */
function listUsers({ accounts, access }: UserEndpointParts, caller: string, withTokens: boolean): Reply {
  const { records, digest: current } = accounts.users();
  const seesAll = access.check(caller, '/access/users', ['Sys.Audit']);
  const users = records.filter((user) => seesAll || user.userid === userOf(caller));
  if (!withTokens) return new Reply(users, { digest: current });
  const tokens = Map.groupBy(accounts.tokens().records, (token) => userOf(token.tokenid));
  return new Reply(users.map((user) => ({ ...user, ...(tokens.has(user.userid) ? { tokens: tokens.get(user.userid) } : {}) })), { digest: current });
}
