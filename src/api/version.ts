import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from './endpoint.ts';

/**
 * The release of the reference whose API this is. Peers and clients decide by it what they may ask for, so it is not this
 * program's own version.
 */
export const apiVersion = { version: '4.2', release: '3' } as const;

/** 40 hex digits that name the build, where the reference has a commit: SHA-1 of `farshore` and this program's version. */
export function repositoryId(programVersion: string): string {
  return createHash('sha1').update(`farshore ${programVersion}`).digest('hex');
}

/** `/version`, the usual probe of credentials, and `/ping`. `programVersion`: this program's own. */
export function versionEndpoints(parts: { programVersion: string }): Endpoint[] {
  const repoid = repositoryId(parts.programVersion);
  return [
    jsonEndpoint({ method: 'GET', path: '/version', description: 'API version.', parameters: Type.Object({}), permission: { kind: 'any' }, handler: async () => ({ ...apiVersion, repoid }) }),
    jsonEndpoint({ method: 'GET', path: '/ping', description: 'Answers when the server runs.', parameters: Type.Object({}), permission: { kind: 'public' }, handler: async () => ({ pong: true }) }),
  ];
}
