import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import type { TfaFile, UserFactors } from '../../config/tfa-config.ts';
import { userId } from '../../config/schemas.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { modifyOrSelf } from './users.ts';

/** What is told of a second factor: nothing that would let anybody use it. */
interface FactorView {
  created: number;
  description: string;
  enable: boolean;
  id: string;
  type: string;
}

/** Second factors, for reading (spec rest-api 6.2). They are set up elsewhere; logins ask for them, see access/second-factor.ts. */
export function tfaEndpoints({ tfa, access }: { tfa: TfaFile; access: AccessControl }): Endpoint[] {
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
        return users.map(([userid, factors]) => ({
          userid,
          entries: viewOf(factors),
          'totp-locked': factors['totp-locked'] === true,
          ...(factors['tfa-locked-until'] === undefined ? {} : { 'tfa-locked-until': factors['tfa-locked-until'] }),
        }));
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
      parameters: Type.Object({ userid: userId, id: Type.String({ maxLength: 128, description: 'ID of the second factor.' }) }),
      permission: modifyOrSelf,
      handler: async ({ userid, id }) => {
        const found = factorsOf(tfa, userid).find((one) => one.id === id);
        if (found === undefined) throw new HttpError(404, `no such tfa entry: ${userid}/${id}`);
        return found;
      },
    }),
  ];
}

function factorsOf(tfa: TfaFile, userid: string): FactorView[] {
  const { users } = tfa.load().value;
  return Object.hasOwn(users, userid) ? viewOf(users[userid]!) : [];
}

function viewOf(factors: UserFactors): FactorView[] {
  const listed = (['totp', 'webauthn', 'u2f', 'yubico'] as const).flatMap((type) => (factors[type] ?? []).map((entry) => entryView(type, entry)));
  const { recovery } = factors;
  return recovery === undefined || recovery === null ? listed : [...listed, { created: recovery.created ?? 0, description: '', enable: true, id: 'recovery', type: 'recovery' }];
}

function entryView(type: string, entry: { id?: unknown; created?: unknown; description?: unknown; enable?: boolean }): FactorView {
  const { id, created, description } = entry;
  return {
    created: typeof created === 'number' ? created : 0,
    description: typeof description === 'string' ? description : '',
    enable: entry.enable !== false,
    id: typeof id === 'string' ? id : '',
    type,
  };
}
