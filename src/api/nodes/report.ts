import { arch, release, type as systemName } from 'node:os';
import { Type } from 'typebox';
import type { Datastores } from '../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** What support asks for first, without secrets: versions and datastores. The reference adds files and commands of its host. */
export function reportEndpoints({ programVersion, datastores }: { programVersion: string; datastores: Datastores }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/report',
      description: 'Generate a report.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/system/status', privileges: ['Sys.Audit'] },
      handler: async () => {
        const stores = datastores.records().map(({ name, path }) => `${name}: ${path}`);
        return [`## VERSIONS\n\nfarshore ${programVersion}\nnode ${process.version}\n${systemName()} ${release()} ${arch()}`, `## DATASTORES\n\n${stores.join('\n') || '# none'}`].join('\n\n') + '\n';
      },
    }),
  ];
}
