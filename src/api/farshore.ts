import { Type } from 'typebox';
import { peerCapabilities } from '../replication/peer.ts';
import { jsonEndpoint, type Endpoint } from './endpoint.ts';

/**
 * What this server can do beyond the reference, for peers that are Farshores, too. The reference answers 404, and never asks. `instanceId`: see
 * config/instance-id.ts.
 */
export function farshoreEndpoints({ instanceId, programVersion }: { instanceId: string; programVersion: string }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/farshore',
      description: 'Identity and additional abilities of this server.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: async () => ({ 'instance-id': instanceId, version: programVersion, capabilities: [...peerCapabilities] }),
    }),
  ];
}
