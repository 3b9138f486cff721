import { Type } from 'typebox';
import type { TfaFile } from '../../config/tfa-config.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

/** WebAuthn as tfa.json configures it, for reading: second factors of that kind are for a reference server. */
export function webauthnEndpoints({ tfa }: { tfa: TfaFile }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/access/tfa/webauthn',
      description: 'Get the configuration of WebAuthn.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: async () => tfa.load().value['webauthn'] ?? null,
    }),
  ];
}
