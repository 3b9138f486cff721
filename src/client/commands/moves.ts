import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { flag, wholeNumber } from '../../config/schemas.ts';
import { parseNamespace } from '../../format/backup-path.ts';
import { described, outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { presentTask } from '../../terminal/task-follow.ts';
import { parseGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { givenNamespace, withConnection } from '../connect.ts';
import { groupQuery, namespaceQuery } from '../listings.ts';
import { taskApi } from '../task-api.ts';
import { namespaceOption, repositoryOptions, targetOptions } from './options.ts';

/** Moves within a datastore (spec client-cli 3): tasks of the server. */

const targetNamespace = described(namespaceOption['ns']!, 'Namespace to move to.');
const on = { default: true } as const;

/** Those of the options that were given: the server has defaults for the others. */
function givenOf(given: Parameters, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => names.includes(name)));
}

async function startMove(context: ClientContext, given: Parameters, path: string, request: Record<string, unknown>): Promise<number> {
  const target = parseNamespace(given['target-ns'] as string);
  return withConnection(context, given, async (connection) =>
    presentTask({ ...context, api: taskApi(connection) }, await connection.postToDatastore(path, { ...request, 'target-ns': target }), given),
  );
}

const moveGroup: ClientCommand = {
  words: ['group', 'move'],
  description: 'Move a backup group to another namespace of the datastore.',
  parameters: parameters(
    { group: Type.String({ description: 'Backup group: type/id.' }), 'target-ns': targetNamespace },
    { ...targetOptions, ...outputFormatOption, 'merge-group': flag('Put the snapshots into a group of the same name and owner that is there already.', on) },
  ),
  positional: ['group'],
  run: async (context, given) =>
    startMove(context, given, 'move-group', { ...groupQuery(parseGroupPath(given['group'] as string)), ...namespaceQuery(givenNamespace(context, given)), ...givenOf(given, ['merge-group']) }),
};

const moveNamespace: ClientCommand = {
  words: ['namespace', 'move'],
  description: 'Move a namespace with all that is in it within the datastore.',
  parameters: parameters(
    { 'target-ns': targetNamespace },
    {
      ...namespaceOption,
      ...repositoryOptions,
      ...outputFormatOption,
      'delete-source': flag('Remove the namespace once it is empty.', on),
      'max-depth': wholeNumber('How many levels of namespaces to go down.', { minimum: 0, maximum: 7, default: 7 }),
      'merge-groups': flag('Put the snapshots into groups of the same name and owner that are there already.', on),
    },
  ),
  positional: ['ns'],
  run: async (context, given) => {
    const ns = givenNamespace(context, given);
    if (ns === '') throw new ConfigError('config.namespace', 'root namespace cannot be moved');
    return startMove(context, given, 'move-namespace', { ns, ...givenOf(given, ['delete-source', 'max-depth', 'merge-groups']) });
  },
};

export const moveCommands: readonly ClientCommand[] = [moveGroup, moveNamespace];
