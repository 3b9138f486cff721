import { Type } from 'typebox';
import { errorChain } from '../../base/errors.ts';
import { aclPath, authId, flag } from '../../config/schemas.ts';
import type { Parameters } from '../../terminal/command.ts';
import type { Command, CommandContext } from '../command.ts';
import { aclPaths, authIds } from '../completions.ts';
import { ugidCell } from '../../terminal/renderers.ts';
import { described, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, showData } from './section.ts';

/** Roles are fixed (spec rest-api 7.2). */
const roles = [
  'Admin',
  'Audit',
  'NoAccess',
  'DatastoreAdmin',
  'DatastoreReader',
  'DatastoreBackup',
  'DatastorePowerUser',
  'DatastoreAudit',
  'RemoteAudit',
  'RemoteAdmin',
  'RemoteSyncOperator',
  'RemoteSyncPushOperator',
  'RemoteDatastorePowerUser',
  'RemoteDatastoreAdmin',
  'TapeAudit',
  'TapeAdmin',
  'TapeOperator',
  'TapeReader',
];

const list: Command = {
  words: ['acl', 'list'],
  description: 'Access Control list.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/access/acl', forApi(given));
    const columns = [{ name: 'ugid', render: ugidCell }, { name: 'path' }, { name: 'propagate', type: 'boolean' as const }, { name: 'roleid' }];
    showData(context, { kind: 'list', columns }, data, given);
  },
};

/** A word as a shell needs it. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9@%+=:,./_-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Privileges of `privileges` that `authId` does not have at `path`, or has only there although they should propagate. */
async function missingPrivileges(context: CommandContext, userid: string, path: string, privileges: readonly string[], propagate: boolean): Promise<string[]> {
  const { data } = await context.api.call('GET', '/access/permissions', { 'auth-id': userid, path });
  const held = ((data ?? {}) as Record<string, Record<string, unknown>>)[path] ?? {};
  return privileges.filter((privilege) => !Object.hasOwn(held, privilege) || (propagate && held[privilege] !== true));
}

/**
 * A token can never do more than its user: what the user lacks on the path, the new entry does not give. The API says
 * nothing about that, and the sync job fails later; so say it now.
 */
async function warnAboutUser(context: CommandContext, given: Parameters): Promise<void> {
  const authId = String(given['auth-id']);
  const bang = authId.indexOf('!', authId.lastIndexOf('@'));
  if (bang < 0) return;
  const userid = authId.slice(0, bang);
  const { path, role } = given as { path: string; role: string };
  const { data } = await context.api.call('GET', '/access/roles');
  const privileges = (data as Array<{ roleid: string; privs: string[] }>).find((one) => one.roleid === role)?.privs ?? [];
  const missing = await missingPrivileges(context, userid, path, privileges, given['propagate'] !== false);
  if (missing.length === 0) return;
  const command = [context.program, 'acl', 'update', path, role, '--auth-id', shellWord(userid), ...(given['propagate'] === false ? ['--propagate', '0'] : [])];
  context.stderr.write(
    `Warning: a token has at most the privileges of its user, and '${userid}' lacks on ${path}: ${missing.sort().join(', ')}.\n` +
      `The entry for '${authId}' was written, but has no effect until the user has the role, too:\n` +
      `    ${command.join(' ')}\n`,
  );
}

const update: Command = {
  words: ['acl', 'update'],
  description: 'Update Access Control List (ACLs).',
  parameters: parameters(
    {
      path: described(aclPath, 'Access control path.'),
      role: Type.Enum([...roles], { typetext: '<role>', description: 'Role: a named set of privileges.' }),
    },
    {
      'auth-id': described(authId, 'Authentication ID'),
      delete: flag('Remove permissions (instead of adding it).'),
      group: Type.String({ pattern: '^[^\\s:/\\x00-\\x1f\\x7f]+$', minLength: 3, maxLength: 64, description: 'Group ID' }),
      propagate: flag('Allow to propagate (inherit) permissions.', { default: true }),
      ...digestOption,
    },
  ),
  positional: ['path', 'role'],
  completions: { path: aclPaths, 'auth-id': authIds },
  run: async (context, given) => {
    await context.api.call('PUT', '/access/acl', given);
    if (given['delete'] === true || given['auth-id'] === undefined) return;
    try {
      await warnAboutUser(context, given);
    } catch (e) {
      // The entry is written: that the check after it failed does not make the command fail.
      context.stderr.write(`Warning: the privileges of the token's user could not be checked: ${errorChain(e)}\n`);
    }
  },
};

export const aclCommands: readonly Command[] = [list, update];
