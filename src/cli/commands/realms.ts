import { realmName } from '../../config/schemas.ts';
import type { Command } from '../command.ts';
import { described, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, plainColumns, quietCall, showData } from './section.ts';

/** Realms of other types, which a reference server may have configured: they can be looked at and removed. */

const realm = { realm: described(realmName, 'Authentication domain ID') };

function realmCommands(type: string, listColumns: string, fields: string): Command[] {
  const path = `/config/access/${type}`;
  return [
    {
      words: [type, 'list'],
      description: `List configured ${type} realms.`,
      parameters: parameters({}, outputFormatOption),
      positional: [],
      run: async (context, given) => {
        const { data } = await context.api.call('GET', path, forApi(given));
        showData(context, { kind: 'list', columns: plainColumns(listColumns) }, data, given);
      },
    },
    {
      words: [type, 'show'],
      description: `Show the configuration of a ${type} realm.`,
      parameters: parameters(realm, outputFormatOption),
      positional: ['realm'],
      run: async (context, given) => {
        const { data } = await context.api.call('GET', `${path}/{realm}`, forApi(given));
        showData(context, { kind: 'object', fields: plainColumns(fields) }, data, given);
      },
    },
    {
      words: [type, 'delete'],
      description: `Remove a ${type} realm.`,
      parameters: parameters(realm, digestOption),
      positional: ['realm'],
      run: quietCall('DELETE', `${path}/{realm}`),
    },
  ];
}

const directoryFields = 'server1 server2 port mode base-dn user-attr bind-dn realm comment';

export const realmConfigCommands: readonly Command[] = [
  ...realmCommands('ad', 'realm server1 comment', directoryFields),
  ...realmCommands('ldap', 'realm server1 comment', directoryFields),
  ...realmCommands('openid', 'realm issuer-url comment', 'client-id issuer-url realm comment'),
];
