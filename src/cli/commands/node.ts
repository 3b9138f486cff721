import { flag } from '../../config/schemas.ts';
import { certificateText } from '../certificate-text.ts';
import type { Command } from '../command.ts';
import { outputFormatOption, parameters } from './parameters.ts';
import { showData } from './section.ts';

const serverPackage = 'proxmox-backup-server';

const certInfo: Command = {
  words: ['cert', 'info'],
  description: "Show the server's certificate.",
  parameters: parameters({}),
  positional: [],
  run: async (context) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/certificates/info');
    const certificates = (Array.isArray(data) ? data : []) as Array<{ filename?: unknown; pem?: unknown }>;
    const own = certificates.find((one) => one.filename === 'proxy.pem') ?? certificates[0];
    if (typeof own?.pem !== 'string') throw new Error('unable to read the certificate: the server has none');
    context.stdout.write(certificateText(own.pem));
  },
};

const versions: Command = {
  words: ['versions'],
  description: 'List the versions of the packages that matter.',
  parameters: parameters({}, { verbose: flag('List all packages, not only the server.', { default: false }), ...outputFormatOption }),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/apt/versions');
    const packages = (Array.isArray(data) ? data : []) as Array<Record<string, unknown>>;
    const shown = given['verbose'] === true ? packages : packages.filter((one) => one['Package'] === serverPackage);
    const columns = [{ name: 'Package' }, { name: 'Version' }, { name: 'ExtraInfo', header: 'Extra Info' }];
    showData(context, { kind: 'list', columns, sort: false, plain: true }, shown, given);
  },
};

/** The version of this program, without asking any server. */
export function versionCommand(version: string): Command {
  return {
    words: ['version'],
    description: 'Print the version of this program.',
    parameters: parameters({}),
    positional: [],
    run: async (context) => {
      context.stdout.write(`${context.program} ${version}\n`);
    },
  };
}

export const nodeCommands: readonly Command[] = [certInfo, versions];
