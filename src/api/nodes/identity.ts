import { Type } from 'typebox';
import { nodeName } from '../../config/schemas.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

/** Who this server is, for those who look after several. `instanceId`: 32 hex digits, see config/instance-id.ts. */
export function identityEndpoints({ instanceId }: { instanceId: string }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/identity',
      description: 'Identity of this server.',
      parameters: Type.Object({ node: nodeName }),
      permission: { kind: 'any' },
      handler: async () => ({ 'pbs-instance-id': instanceId }),
    }),
  ];
}
