import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import type { Accounts } from '../../access/accounts.ts';
import { viewsOf, type FactorChanges, type FactorView } from '../../access/factor-changes.ts';
import type { Login } from '../../access/login.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { HttpError } from '../../base/errors.ts';
import { flag, givenPassword, oneOf, userId } from '../../config/schemas.ts';
import type { TfaFile, UserFactors } from '../../config/tfa-config.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { requireOwnPassword } from './own-password.ts';
import { modify, modifyOrSelf } from './users.ts';

export interface TfaEndpointParts {
  tfa: TfaFile;
  factors: FactorChanges;
  accounts: Accounts;
  access: AccessControl;
  login: Login;
  clock: Clock;
}

const { Optional } = Type;

const entryKey = { userid: userId, id: Type.String({ maxLength: 128, description: 'ID of the second factor.' }) };
const description = Optional(Type.String({ maxLength: 256, description: 'What tells this second factor from others.' }));
const password = Optional(givenPassword);

const newFactor = Type.Object({
  userid: userId,
  type: oneOf(['totp', 'u2f', 'webauthn', 'recovery', 'yubico'], 'Kind of second factor. This server makes `totp` and `recovery`.'),
  description,
  totp: Optional(Type.String({ maxLength: 4096, description: 'An `otpauth://totp/` address.' })),
  value: Optional(Type.String({ maxLength: 4096, description: 'Code that the new second factor shows now.' })),
  challenge: Optional(Type.String({ maxLength: 16_384, description: 'Of kinds that answer a challenge.' })),
  password,
});

/** Second factors (spec rest-api 6.2). Logins ask for them, see access/second-factor.ts. */
export function tfaEndpoints(parts: TfaEndpointParts): Endpoint[] {
  return [...readingEndpoints(parts), ...changingEndpoints(parts)];
}

function readingEndpoints({ tfa, access, clock }: TfaEndpointParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/tfa',
      description: 'List user TFA configuration.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: async (_, caller) => {
        const seesAll = access.check(caller.authId, '/access/users', ['Sys.Audit', 'Permissions.Modify'], { partial: true });
        const users = Object.entries(tfa.load().value.users).filter(([userid]) => seesAll || userid === caller.authId);
        return users.map(([userid, factors]) => ({ entries: viewsOf(factors), userid, ...locksOf(factors, nowSeconds(clock)) }));
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/access/tfa/{userid}',
      description: "List a user's TFA configuration.",
      parameters: Type.Object({ userid: userId }),
      permission: modifyOrSelf,
      handler: async ({ userid }) => factorsOf(tfa, userid),
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/access/tfa/{userid}/{id}',
      description: 'Get a single TFA entry.',
      parameters: Type.Object(entryKey),
      permission: modifyOrSelf,
      handler: async ({ userid, id }) => {
        const found = factorsOf(tfa, userid).find((one) => one.id === id);
        if (found === undefined) throw new HttpError(404, `no such tfa entry: ${userid}/${id}`);
        return found;
      },
    }),
  ];
}

function changingEndpoints(parts: TfaEndpointParts): Endpoint[] {
  const { factors, accounts, login } = parts;
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/access/tfa/{userid}',
      description: "Add a second factor to a user.",
      parameters: newFactor,
      permission: modifyOrSelf,
      handler: async ({ password: own, ...given }, caller) => {
        await requireOwnPassword(login, caller.authId, own);
        if (accounts.findUser(given.userid) === undefined) throw new HttpError(401, `user '${given.userid}' does not exists.`);
        return given.type === 'recovery' ? addRecovery(factors, given) : addOther(parts, given);
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/access/tfa/{userid}/{id}',
      description: "Change description or state of a user's second factor.",
      parameters: Type.Object({ ...entryKey, description, enable: Optional(flag('Whether logins ask for it.')), password }),
      permission: modifyOrSelf,
      handler: async ({ userid, id, password: own, ...changes }, caller) => {
        await requireOwnPassword(login, caller.authId, own);
        await factors.change(userid, id, changes);
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/access/tfa/{userid}/{id}',
      description: "Remove a user's second factor.",
      parameters: Type.Object({ ...entryKey, password }),
      permission: modifyOrSelf,
      handler: async ({ userid, id, password: own }, caller) => {
        await requireOwnPassword(login, caller.authId, own);
        await factors.remove(userid, id);
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/access/users/{userid}/unlock-tfa',
      description: "Unlock a user's second factors after too many failures.",
      parameters: Type.Object({ userid: userId }),
      permission: modify,
      handler: async ({ userid }) => factors.unlock(userid),
    }),
  ];
}

interface NewFactor {
  userid: string;
  type: string;
  description?: string;
  totp?: string;
  value?: string;
  challenge?: string;
}

async function addRecovery(factors: FactorChanges, { userid, totp, value, challenge }: NewFactor): Promise<{ id: string; recovery: string[] }> {
  if (totp !== undefined || value !== undefined || challenge !== undefined) throw new HttpError(400, 'generating recovery tokens does not allow additional parameters');
  return { id: 'recovery', recovery: await factors.addRecovery(userid) };
}

async function addOther({ factors, tfa }: TfaEndpointParts, { userid, type, description: name, totp, value, challenge }: NewFactor): Promise<{ id: string }> {
  if (name === undefined) throw new HttpError(400, "'description' is required for new entries");
  if (type !== 'totp') {
    const configured = tfa.load().value[type] !== undefined && tfa.load().value[type] !== null;
    throw new HttpError(400, configured || type === 'yubico' ? `second factors of type '${type}' are not supported by this server` : `no ${type} configuration available`);
  }
  if (challenge !== undefined) throw new HttpError(400, "'challenge' parameter is invalid for 'totp' entries");
  if (totp === undefined || value === undefined) throw new HttpError(400, "'totp' type requires both 'totp' and 'value' parameters");
  if (!totp.startsWith('otpauth:')) throw new HttpError(400, 'not an otpauth uri');
  return { id: await factors.addTotp(userid, name, totp, value) };
}

function factorsOf(tfa: TfaFile, userid: string): FactorView[] {
  const { users } = tfa.load().value;
  return Object.hasOwn(users, userid) ? viewsOf(users[userid]!) : [];
}

function locksOf(factors: UserFactors, now: number): Record<string, unknown> {
  const until = factors['tfa-locked-until'];
  return { ...(factors['totp-locked'] === true ? { 'totp-locked': true } : {}), ...(until !== undefined && until > now ? { 'tfa-locked-until': until } : {}) };
}
