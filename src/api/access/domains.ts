import { Type } from 'typebox';
import { realmsOf } from '../../config/domain-config.ts';
import type { SectionFile } from '../../config/files.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';

/** Realms, for the login screen. */
export function domainEndpoints({ domains }: { domains: SectionFile }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/access/domains',
      description: 'Authentication domain/realm index.',
      parameters: Type.Object({}),
      permission: { kind: 'public' },
      handler: async () => {
        const { value, digest } = domains.load();
        return new Reply(realmsOf(value), { digest });
      },
    }),
  ];
}
