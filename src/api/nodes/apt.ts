import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/**
 * What answers where `proxmox-backup-server` is expected: this program, with its own version and not the reference's. The manager's
 * `versions` and monitoring look for that package name.
 */
export function aptEndpoints({ programVersion }: { programVersion: string }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/apt/versions',
      description: 'Versions of the packages that matter.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/', privileges: ['Sys.Audit'] },
      handler: async () => [
        {
          Package: 'proxmox-backup-server',
          Version: programVersion,
          ExtraInfo: `running version: ${programVersion} (Farshore)`,
          Title: 'Farshore',
          Description: 'Farshore, a backup server with the API of Proxmox Backup Server',
          Origin: 'Farshore',
          Arch: process.arch,
          Priority: 'optional',
          Section: 'admin',
        },
      ],
    }),
  ];
}
