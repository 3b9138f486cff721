import { Type } from 'typebox';
import type { AccountChanger, Accounts } from '../../access/accounts.ts';
import { comment, configDigest, deletable, enable, expire, flag, safeIdPattern, userId } from '../../config/schemas.ts';
import { tokenNameOf } from '../../format/auth-id.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { auditOrSelf, modifyOrSelf } from './users.ts';

const { Optional } = Type;

const key = { userid: userId, 'token-name': Type.String({ pattern: `^(?:${safeIdPattern})$`, maxLength: 64, description: 'Token name.' }) };
const fields = { comment: Optional(comment), enable: Optional(enable), expire: Optional(expire) };
const digest = Optional(configDigest);
const path = '/access/users/{userid}/token/{token-name}';

/** API tokens of a user (spec rest-api 10.5, 11). A secret is shown once, when it is made. */
export function userTokenEndpoints({ accounts, changer }: { accounts: Accounts; changer: AccountChanger }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/users/{userid}/token',
      description: "List the user's API tokens.",
      parameters: Type.Object({ userid: userId }),
      permission: auditOrSelf,
      handler: async ({ userid }) => {
        const { records, digest: current } = accounts.tokens(userid);
        return new Reply(records.map((token) => ({ 'token-name': tokenNameOf(token.tokenid), ...token })), { digest: current });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path,
      description: "Read an API token's properties.",
      parameters: Type.Object(key),
      permission: auditOrSelf,
      handler: async (given) => new Reply(accounts.getToken(idOf(given)), { digest: accounts.users().digest }),
    }),
    jsonEndpoint({
      method: 'POST',
      path,
      description: 'Generate an API token.',
      parameters: Type.Object({ ...key, ...fields, digest }),
      permission: modifyOrSelf,
      handler: async ({ userid, 'token-name': name, digest: expected, ...record }) => {
        const tokenid = idOf({ userid, 'token-name': name });
        return { tokenid, value: await changer.createToken({ tokenid, ...record }, { digest: expected }) };
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path,
      description: "Update an API token's properties.",
      parameters: Type.Object({ ...key, ...fields, regenerate: Optional(flag('Make a new secret; the old one is void at once.', { default: false })), delete: Optional(deletable(['comment'])), digest }),
      permission: modifyOrSelf,
      handler: async ({ userid, 'token-name': name, digest: expected, delete: names, regenerate, ...set }) => {
        const tokenid = idOf({ userid, 'token-name': name });
        await changer.updateToken(tokenid, { delete: names, set }, { digest: expected });
        return regenerate === true ? { secret: await changer.regenerateToken(tokenid) } : null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path,
      description: 'Delete an API token and its access control entries.',
      parameters: Type.Object({ ...key, digest }),
      permission: modifyOrSelf,
      handler: async ({ digest: expected, ...given }) => {
        await changer.deleteToken(idOf(given), { digest: expected });
      },
    }),
  ];
}

function idOf(given: { userid: string; 'token-name': string }): string {
  return `${given.userid}!${given['token-name']}`;
}
