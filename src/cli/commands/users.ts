import { Type } from 'typebox';
import { authId, comment, email, enable, expire, givenPassword, password, personName, aclPath, tokenName, userId } from '../../config/schemas.ts';
import type { Command, CommandContext } from '../command.ts';
import { authIds, tokenNames, userIds } from '../completions.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import { enabledCell, expireCell, timeCell } from '../../terminal/renderers.ts';
import type { Column } from '../../terminal/table.ts';
import { described, deleteOption, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, plainColumns, printResult, quietCall, showData } from './section.ts';

const user = described(userId, 'User ID');
const accountOptions = {
  enable: described(enable, "Enable the account (default). You can set this to '0' to disable the account."),
  expire: described(expire, "Account expiration date (seconds since epoch). '0' means no expiration date."),
};
const personOptions = {
  comment,
  ...accountOptions,
  email: described(email, 'E-Mail Address.'),
  firstname: personName('First name.'),
  lastname: personName('Last name.'),
};

function accountColumns(context: CommandContext): Column[] {
  return [
    { name: 'enable', render: enabledCell, align: 'right' },
    { name: 'expire', render: expireCell(context.output.timeZone), align: 'right' },
  ];
}

const list: Command = {
  words: ['user', 'list'],
  description: 'List configured users.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/access/users', forApi(given));
    const columns = [{ name: 'userid' }, ...accountColumns(context), ...plainColumns('firstname lastname email comment')];
    showData(context, { kind: 'list', columns }, data, given);
  },
};

const create: Command = {
  words: ['user', 'create'],
  description: 'Create new user.',
  parameters: parameters({ userid: user }, { ...personOptions, password: described(password, 'User Password.') }),
  positional: ['userid'],
  run: quietCall('POST', '/access/users'),
};

const update: Command = {
  words: ['user', 'update'],
  description: 'Update user configuration.',
  parameters: parameters(
    { userid: user },
    { ...personOptions, password: described(givenPassword, 'User Password.'), ...deleteOption(['comment', 'firstname', 'lastname', 'email']), ...digestOption },
  ),
  positional: ['userid'],
  completions: { userid: userIds },
  run: quietCall('PUT', '/access/users/{userid}'),
};

const remove: Command = {
  words: ['user', 'remove'],
  description: 'Remove a user, its tokens and its password.',
  parameters: parameters({ userid: user }, digestOption),
  positional: ['userid'],
  completions: { userid: userIds },
  run: quietCall('DELETE', '/access/users/{userid}'),
};

const tokenKey = { userid: user, 'token-name': described(tokenName, 'Token name.') };
const tokenPath = '/access/users/{userid}/token/{token-name}';

const generateToken: Command = {
  words: ['user', 'generate-token'],
  description: 'Generate a new API token. Its secret is shown only once.',
  parameters: parameters(tokenKey, { comment, ...accountOptions, ...digestOption }),
  positional: ['userid', 'token-name'],
  completions: { userid: userIds },
  run: async (context, given) => {
    printResult(context, (await context.api.call('POST', tokenPath, given)).data);
  },
};

const listTokens: Command = {
  words: ['user', 'list-tokens'],
  description: 'List the API tokens of a user.',
  parameters: parameters({ userid: user }, outputFormatOption),
  positional: ['userid'],
  completions: { userid: userIds },
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/access/users/{userid}/token', forApi(given));
    showData(context, { kind: 'list', columns: [{ name: 'tokenid' }, ...accountColumns(context), { name: 'comment' }] }, data, given);
  },
};

const deleteToken: Command = {
  words: ['user', 'delete-token'],
  description: 'Delete an API token and its access control entries.',
  parameters: parameters(tokenKey, digestOption),
  positional: ['userid', 'token-name'],
  completions: { userid: userIds, 'token-name': tokenNames },
  run: quietCall('DELETE', tokenPath),
};

/** Text of `user permissions` (spec manager-cli 6.1). */
export function permissionsText(data: Readonly<Record<string, Readonly<Record<string, unknown>>>>): string {
  const blocks = Object.entries(data)
    .filter(([, privileges]) => Object.keys(privileges).length > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, privileges]) => {
      const lines = Object.entries(privileges)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([privilege, propagates]) => `- ${privilege}${propagates === true ? ' (*)' : ''}\n`);
      return `Path: ${path}\n${lines.join('')}`;
    });
  return `Privileges with (*) have the propagate flag set\n\n${blocks.join('')}`;
}

const permissions: Command = {
  words: ['user', 'permissions'],
  description: 'List permissions of user/token.',
  parameters: parameters({ 'auth-id': described(authId, 'Authentication ID') }, { path: described(aclPath, 'Access control path.'), ...outputFormatOption }),
  positional: ['auth-id'],
  completions: { 'auth-id': authIds },
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/access/permissions', forApi(given));
    const format = outputFormat(given['output-format'], context.output);
    context.stdout.write(format === 'text' ? permissionsText((data ?? {}) as Record<string, Record<string, unknown>>) : jsonText(data, format));
  },
};

const tfaList: Command = {
  words: ['user', 'tfa', 'list'],
  description: "List a user's second factors.",
  parameters: parameters({ userid: user }, outputFormatOption),
  positional: ['userid'],
  completions: { userid: userIds },
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/access/tfa/{userid}', forApi(given));
    const columns: Column[] = [...plainColumns('id type description'), { name: 'created', type: 'integer', render: timeCell(context.output.timeZone) }];
    showData(context, { kind: 'list', columns }, data, given);
  },
};

const tfaDelete: Command = {
  words: ['user', 'tfa', 'delete'],
  description: "Delete one of a user's second factors.",
  parameters: parameters({ userid: user, id: Type.String({ description: 'ID of the second factor.' }) }, { password: described(givenPassword, 'Password of the caller.') }),
  positional: ['userid', 'id'],
  completions: { userid: userIds },
  run: quietCall('DELETE', '/access/tfa/{userid}/{id}'),
};

const tfaUnlock: Command = {
  words: ['user', 'tfa', 'unlock'],
  description: 'Unlock second factors that were locked after too many failures.',
  parameters: parameters({ userid: user }),
  positional: ['userid'],
  completions: { userid: userIds },
  run: async (context, given) => {
    printResult(context, (await context.api.call('PUT', '/access/users/{userid}/unlock-tfa', given)).data);
  },
};

export const userCommands: readonly Command[] = [list, create, update, remove, generateToken, listTokens, deleteToken, permissions, tfaList, tfaDelete, tfaUnlock];
