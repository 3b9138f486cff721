import { nodeConfigNames, nodeLanguages } from '../../api/nodes/config.ts';
import { nodeConfigSchema } from '../../config/node-config.ts';
import { flag, oneOf } from '../../config/schemas.ts';
import { certificateText } from '../certificate-text.ts';
import type { Command } from '../command.ts';
import { deleteOption, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, plainColumns, quietCall, showData } from './section.ts';

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

const certUpdate: Command = {
  words: ['cert', 'update'],
  description: "Make the server's certificate and keys where they are missing; a running server uses a new certificate at once.",
  parameters: parameters({}, { force: flag('Make a new certificate and key also where there are some. Clients and peers then need the new fingerprint.') }),
  positional: [],
  run: async (context, given) => {
    // What is missing was made when the server, or this program in its place, started.
    await context.api.call('GET', '/nodes/localhost/certificates/info');
    if (given['force'] === true) await context.api.call('DELETE', '/nodes/localhost/certificates/custom');
  },
};

const showNode: Command = {
  words: ['node', 'show'],
  description: 'Show the configuration of the node.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/config');
    showData(context, { kind: 'object', fields: plainColumns(nodeConfigNames.toSorted().join(' ')) }, data, given);
  },
};

const updateNode: Command = {
  words: ['node', 'update'],
  description: 'Change the configuration of the node.',
  parameters: parameters({}, { ...nodeConfigSchema.properties, 'default-lang': oneOf([...nodeLanguages], 'Language of the web interface.'), ...deleteOption(nodeConfigNames), ...digestOption }),
  positional: [],
  run: quietCall('PUT', '/nodes/localhost/config'),
};

const serverIdentity: Command = {
  words: ['node', 'server-identity'],
  description: 'Show the identity of this server.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/identity', forApi(given));
    showData(context, { kind: 'object', fields: plainColumns('pbs-instance-id') }, data, given);
  },
};

const report: Command = {
  words: ['report'],
  description: 'Print a report for support: versions and datastores, no secrets.',
  parameters: parameters({}),
  positional: [],
  run: async (context) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/report');
    if (typeof data !== 'string') throw new Error('the server gave no report');
    context.stdout.write(data);
  },
};

const dnsGet: Command = {
  words: ['dns', 'get'],
  description: "Show the host's name servers.",
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/dns');
    showData(context, { kind: 'object', fields: plainColumns('search dns1 dns2 dns3') }, data, given);
  },
};

const subscriptionGet: Command = {
  words: ['subscription', 'get'],
  description: 'Show the subscription: there is none.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/nodes/localhost/subscription');
    showData(context, { kind: 'object', fields: plainColumns('status checktime key message nextduedate productname regdate serverid signature url') }, data, given);
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

export const nodeCommands: readonly Command[] = [certInfo, certUpdate, showNode, updateNode, serverIdentity, versions, report, dnsGet, subscriptionGet];
