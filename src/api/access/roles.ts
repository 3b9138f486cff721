import { Type } from 'typebox';
import { roleItem } from '../../access/acl-changes.ts';
import { roles } from '../../config/privileges.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

/** The fixed roles with their privileges (spec rest-api 7.2). */
export function roleEndpoints(): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/roles',
      description: 'List roles.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: async () => roles.map(({ name }) => roleItem(name)),
    }),
  ];
}
