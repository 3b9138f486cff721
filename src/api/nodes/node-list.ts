import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

/** Nodes that the server knows: itself, under the name that clients use. For root@pam only, as in the reference (spec rest-api 13.11). */
export function nodeListEndpoints(): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes',
      description: 'List nodes.',
      parameters: Type.Object({}),
      permission: { kind: 'root' },
      handler: async () => [{ node: 'localhost' }],
    }),
  ];
}
