import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** Certificates of the server (spec rest-api 10.1). `certificates`: descriptions of those that are served now, in the reference's form. */
export function certificateEndpoints({ certificates }: { certificates: () => readonly object[] }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/certificates/info',
      description: 'Get certificate info.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/system/certificates', privileges: ['Sys.Modify'] },
      handler: async () => certificates(),
    }),
  ];
}
