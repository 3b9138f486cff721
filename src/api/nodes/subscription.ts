import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** There are no subscriptions; clients that show one, and monitoring that counts them, are told so in the form that they know. */
export function subscriptionEndpoints({ instanceId }: { instanceId: string }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/subscription',
      description: 'Read subscription info.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'any' },
      handler: async () => ({ status: 'notfound', message: 'Farshore needs no subscription key', serverid: instanceId.toUpperCase(), url: '' }),
    }),
  ];
}
