import { Type } from 'typebox';
import { flag } from '../../config/schemas.ts';
import { jsonEndpoint, type Endpoint, type Permission } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** The server's certificate. Lists are descriptions in the reference's form. */
export interface CertificatePort {
  list(): readonly object[];
  /** Serves another one from now on; without `key` it belongs to the present key. */
  install(certificates: string, key?: string): Promise<readonly object[]>;
  /** Back to a new self-signed one. */
  reset(): Promise<unknown>;
}

const { Optional } = Type;
const modify: Permission = { kind: 'privilege', path: '/system/certificates', privileges: ['Sys.Modify'] };
/** A chain, or a key; the reference names no limit. */
const maxPem = 128 * 1024;
const restart = Optional(flag('Taken and without effect: a new certificate is served at once.', { default: false }));

/** Certificates of the server (spec rest-api 10.1, server 10). */
export function certificateEndpoints({ certificates }: { certificates: CertificatePort }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/certificates/info',
      description: 'Get certificate info.',
      parameters: Type.Object(nodeParameter),
      permission: modify,
      handler: async () => certificates.list(),
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/nodes/{node}/certificates/custom',
      description: 'Upload or update custom certificate chain and key.',
      parameters: Type.Object({
        ...nodeParameter,
        certificates: Type.String({ maxLength: maxPem, description: 'PEM encoded certificate (chain).' }),
        key: Optional(Type.String({ maxLength: maxPem, description: 'PEM encoded private key.' })),
        force: Optional(flag('Taken and without effect: the present certificate is overwritten in any case.', { default: false })),
        restart,
      }),
      permission: modify,
      handler: async ({ certificates: chain, key }) => certificates.install(chain, key),
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/nodes/{node}/certificates/custom',
      description: 'Delete the current certificate and regenerate a self signed one.',
      parameters: Type.Object({ ...nodeParameter, restart }),
      permission: modify,
      handler: async () => {
        await certificates.reset();
      },
    }),
  ];
}
