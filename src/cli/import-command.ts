import { resolve } from 'node:path';
import { Type } from 'typebox';
import { carryOutImport, planImport, type ImportVerdict } from '../config/import-plan.ts';
import { prepareInstallation, type InstallationPaths } from '../config/home.ts';
import { flag } from '../config/schemas.ts';
import type { Command } from './command.ts';
import { outputFormatOption, parameters } from './commands/parameters.ts';
import { plainColumns, showData } from './commands/section.ts';

const verdictTexts: Readonly<Record<ImportVerdict, string>> = {
  take: 'taken over',
  same: 'here already',
  ours: 'not taken over',
  skip: 'not taken over',
  blocked: 'in the way',
};

/** `farshore import`: takes the configuration of another server over; nothing of the source is changed. */
export function importCommand(installation: InstallationPaths): Command {
  return {
    words: ['import'],
    description: 'Take over the configuration of another server: accounts with their passwords and tokens, permissions, datastores, remotes, jobs, keys. Files come as they are, all or none; the folder that they come from is not changed. Stop the other server before this one writes to the same datastores.',
    parameters: parameters(
      { folder: Type.String({ description: 'Configuration folder of the other server, e.g. /etc/proxmox-backup.', minLength: 1, maxLength: 4096, typetext: '<path>' }) },
      { 'dry-run': flag('Only say what would be taken over and what cannot be.', { default: false }), ...outputFormatOption },
    ),
    positional: ['folder'],
    run: async (context, given) => {
      const source = resolve(String(given['folder']));
      const plan = await planImport(source, installation);
      const isDry = given['dry-run'] === true;
      const rows = plan.map(({ file, verdict, detail }) => ({ file, result: isDry && verdict === 'take' ? 'would be taken over' : verdictTexts[verdict], detail }));
      const show = (): void => showData(context, { kind: 'list', columns: plainColumns('file result detail') }, rows, given);
      if (isDry || plan.some(({ verdict }) => verdict === 'blocked')) show();
      if (isDry) return plan.some(({ verdict }) => verdict === 'blocked') ? 255 : 0;
      if (!plan.some(({ verdict }) => verdict === 'blocked')) await prepareInstallation(installation);
      await carryOutImport(source, installation, plan);
      show();
      return 0;
    },
  };
}
