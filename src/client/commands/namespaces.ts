import { ConfigError } from '../../base/errors.ts';
import { flag, wholeNumber } from '../../config/schemas.ts';
import { namespaceComponents, parentNamespace } from '../../format/backup-path.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import type { ClientCommand } from '../client-context.ts';
import { givenNamespace, withConnection } from '../connect.ts';
import { isText } from '../is-text.ts';
import { listEntries } from '../listings.ts';
import { namespaceOption, repositoryOptions } from './options.ts';

const list: ClientCommand = {
  words: ['namespace', 'list'],
  description: 'List namespaces of the datastore.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions, ...outputFormatOption, 'max-depth': wholeNumber('How many levels to go down.', { minimum: 0 }) }),
  positional: ['ns'],
  run: async (context, given) => {
    const parent = givenNamespace(context, given);
    const maxDepth = given['max-depth'] as number | undefined;
    const reply = await withConnection(context, given, async (connection) =>
      connection.getReplyOfDatastore('namespace', { ...(parent === '' ? {} : { parent }), ...(maxDepth === undefined ? {} : { 'max-depth': maxDepth }) }),
    );
    if (!isText(context, given)) {
      show({ kind: 'list', columns: [] }, reply, given['output-format'], context);
      return;
    }
    for (const { ns, comment } of listEntries(reply.data, 'namespace')) {
      if (typeof ns === 'string' && ns !== '') context.stdout.write(`${ns}${typeof comment === 'string' ? ` (${comment})` : ''}\n`);
    }
  },
};

const create: ClientCommand = {
  words: ['namespace', 'create'],
  description: 'Create a namespace.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions }),
  positional: ['ns'],
  run: async (context, given) => {
    const ns = givenNamespace(context, given);
    if (ns === '') throw new ConfigError('config.namespace', 'root namespace is always present');
    await withConnection(context, given, async (connection) => connection.postToDatastore('namespace', { parent: parentNamespace(ns) ?? '', name: namespaceComponents(ns).at(-1) }));
  },
};

const remove: ClientCommand = {
  words: ['namespace', 'delete'],
  description: 'Delete a namespace.',
  parameters: parameters({}, { ...namespaceOption, ...repositoryOptions, 'delete-groups': flag('Delete all groups in it and below.') }),
  positional: ['ns'],
  run: async (context, given) => {
    const ns = givenNamespace(context, given);
    if (ns === '') throw new ConfigError('config.namespace', 'root namespace cannot be deleted');
    const withGroups = given['delete-groups'] as boolean | undefined;
    await withConnection(context, given, async (connection) => connection.deleteOfDatastore('namespace', { ns, ...(withGroups === undefined ? {} : { 'delete-groups': withGroups }) }));
  },
};

export const namespaceCommands: readonly ClientCommand[] = [create, list, remove];
