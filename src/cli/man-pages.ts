import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { registerValueFormats } from '../api/value-formats.ts';
import { clientTree } from '../client/main.ts';
import type { CommandNode } from '../terminal/command.ts';
import { manualPage } from '../terminal/manual.ts';
import { resolveInstallation } from '../config/home.ts';
import { demoCommand } from './demo-command.ts';
import { importCommand } from './import-command.ts';
import { managerTree } from './main.ts';
import { packageVersion } from './process-io.ts';
import { pxarCommands } from './pxar/commands.ts';
import { processPxarIo } from './pxar-entry.ts';
import { pxarTree } from './pxar/program.ts';
import { serverCommand } from './server-command.ts';

/** The manual pages of the three programs, made of their command definitions: `make man`. */

const exitStatus = ['EXIT STATUS', ['0 for success, 255 for an error, 101 for an output format that there is not.']] as const;

/** All commands that `farshore` has as a program. */
export function programTree(version: string): CommandNode {
  const installation = resolveInstallation({ env: { FARSHORE_HOME: '/nonexistent' }, isRoot: false, homeDirectory: '/' });
  const environment = { installation, version, env: {} };
  return managerTree(version, [serverCommand(environment), demoCommand(environment), importCommand(installation), ...pxarCommands(processPxarIo, ['pxar'])]);
}

/** Text of each page by its file name. */
export function manPages(version: string): ReadonlyMap<string, string> {
  return new Map([
    [
      'farshore.1',
      manualPage(programTree(version), {
        program: 'farshore',
        version,
        summary: 'server for offsite copies of backup datastores, and its manager',
        description: [
          'Keeps a second, physically separate copy of a datastore of Proxmox Backup Server or Farshore: up to date, verified, restorable.',
          'Commands act on the running server of the same installation; where none runs they do the same in their own process. Words of commands may be shortened as long as they are unambiguous.',
        ],
        sections: [
          ['ENVIRONMENT', ['FARSHORE_HOME: the folder that holds everything of an installation. Without it root uses /etc/proxmox-backup and its fellows, everybody else ~/.farshore.', 'FARSHORE_LISTEN: address and port of the server where --listen is not given.', 'PROXMOX_OUTPUT_FORMAT: text, json or json-pretty, where --output-format is not given. PROXMOX_OUTPUT_NO_BORDER, PROXMOX_OUTPUT_NO_HEADER: tables without border and header.']],
          exitStatus,
          ['SEE ALSO', ['farshore-client(1), farshore-pxar(1)']],
        ],
      }),
    ],
    [
      'farshore-client.1',
      manualPage(clientTree(), {
        program: 'farshore-client',
        version,
        summary: 'backup and restore with Farshore and Proxmox Backup Server',
        description: ['Backs up folders and images into a datastore, encrypted where wanted, and restores, mounts, compares and prunes what is there.'],
        sections: [
          ['ENVIRONMENT', ['PBS_REPOSITORY: the datastore, [[AUTH-ID@]SERVER[:PORT]:]DATASTORE, where --repository is not given.', 'PBS_PASSWORD: password of the user or secret of the token; PBS_PASSWORD_FD, PBS_PASSWORD_FILE and PBS_PASSWORD_CMD say where it comes from.', 'PBS_ENCRYPTION_PASSWORD: password of the key, with the same fellows.', "PBS_FINGERPRINT: SHA-256 fingerprint of the server's certificate."]],
          exitStatus,
          ['SEE ALSO', ['farshore(1), farshore-pxar(1)']],
        ],
      }),
    ],
    [
      'farshore-pxar.1',
      manualPage(pxarTree(processPxarIo), {
        program: 'farshore-pxar',
        version,
        summary: 'pxar archives without a server',
        description: ['Makes, lists, extracts and mounts archives of the format that backups of folders have.'],
        sections: [exitStatus, ['SEE ALSO', ['farshore(1), farshore-client(1)']]],
      }),
    ],
  ]);
}

if (import.meta.main) {
  registerValueFormats();
  const folder = process.argv[2] ?? join('build', 'man');
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of manPages(packageVersion())) writeFileSync(join(folder, name), text);
}
