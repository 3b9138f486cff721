import { Type, type TSchema } from 'typebox';
import { gotifySchema, matcherSchema, namedValue, notificationName, sendmailSchema, smtpSchema, webhookSchema } from '../../config/notification-config.ts';
import { oneOf, propertyString } from '../../config/schemas.ts';
import type { Column } from '../../terminal/table.ts';
import type { Command, Completion } from '../command.ts';
import { deleteOption, described, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, plainColumns, quietCall, showData } from './section.ts';

function namesAt(path: string): Completion {
  return async (api) => {
    const { data } = await api.call('GET', path);
    return Array.isArray(data) ? (data as Array<{ name: string }>).map((entry) => entry.name) : [];
  };
}

const matchers = namesAt('/config/notifications/matchers');
const targets = namesAt('/config/notifications/targets');

type Properties = Readonly<Record<string, TSchema>>;

/** Commands over one kind of entry of notifications.cfg (spec manager-cli 16). */
interface Entries {
  words: readonly string[];
  path: string;
  noun: string;
  required: Properties;
  optional: Properties;
  /** Only when one is created. */
  atCreation?: Properties;
  columns: string;
  fields: string;
  deletable: string;
  completion: Completion;
}

const name = { name: described(notificationName, 'Name of a target or matcher.') };
const origin = { origin: oneOf(['user-created', 'builtin', 'modified-builtin'], 'Taken and not looked at.') };
const filter = { filter: Type.String({ description: 'Of older versions; not looked at.' }) };

function entryCommands(entries: Entries): Command[] {
  const { words, path, noun, required, optional } = entries;
  const entry = `${path}/{name}`;
  const completions = { name: entries.completion };
  return [
    {
      words: [...words, 'list'],
      description: `List all ${noun}s.`,
      parameters: parameters({}, outputFormatOption),
      positional: [],
      run: async (context, given) => {
        const { data } = await context.api.call('GET', path, forApi(given));
        showData(context, { kind: 'list', columns: listColumns(entries.columns), sort: false }, data, given);
      },
    },
    {
      words: [...words, 'show'],
      description: `Show a ${noun}.`,
      parameters: parameters(name, outputFormatOption),
      positional: ['name'],
      completions,
      run: async (context, given) => {
        const { data } = await context.api.call('GET', entry, forApi(given));
        showData(context, { kind: 'object', fields: plainColumns(entries.fields) }, data, given);
      },
    },
    {
      words: [...words, 'create'],
      description: `Create a new ${noun}.`,
      parameters: parameters({ ...name, ...required }, { ...optional, ...entries.atCreation, ...origin }),
      positional: ['name'],
      run: quietCall('POST', path),
    },
    {
      words: [...words, 'update'],
      description: `Change a ${noun}.`,
      parameters: parameters(name, { ...required, ...optional, ...deleteOption(entries.deletable.split(' ')), ...digestOption }),
      positional: ['name'],
      completions,
      run: quietCall('PUT', entry),
    },
    {
      words: [...words, 'delete'],
      description: `Remove a ${noun}.`,
      parameters: parameters(name),
      positional: ['name'],
      completions,
      run: quietCall('DELETE', entry),
    },
  ];
}

function endpointCommands(kind: string, entries: Omit<Entries, 'words' | 'path' | 'noun' | 'completion'>): Command[] {
  return entryCommands({ ...entries, words: ['notification', 'endpoint', kind], path: `/config/notifications/endpoints/${kind}`, noun: `${kind} target`, completion: namesAt(`/config/notifications/endpoints/${kind}`) });
}

/** The properties of a schema without its name and those of `without`, as options. */
function optionsOf(schema: { properties: Properties }, without: readonly string[] = []): Properties {
  return Object.fromEntries(Object.entries(schema.properties).filter(([key]) => key !== 'name' && !without.includes(key)));
}

/** `disable` is a number in the reference's tables. */
function listColumns(names: string): Column[] {
  return plainColumns(names).map((column) => (column.name === 'disable' ? { ...column, type: 'boolean' } : column));
}

const secret = (what: string): TSchema => Type.String({ description: what });
const namedValues = (what: string): TSchema => Type.Array(propertyString(namedValue, { description: what }), { description: what });

const { url, method } = webhookSchema.properties;
const { server: gotifyServer } = gotifySchema.properties;
const { server: smtpServer, 'from-address': smtpFrom } = smtpSchema.properties;

export const notificationCommands: readonly Command[] = [
  ...endpointCommands('gotify', {
    required: { server: gotifyServer, token: secret('Token of the application at the Gotify server.') },
    optional: optionsOf(gotifySchema, ['server']),
    atCreation: filter,
    columns: 'disable name server comment',
    fields: 'name server comment disable filter origin',
    deletable: 'comment disable',
  }),
  ...endpointCommands('sendmail', {
    required: {},
    optional: optionsOf(sendmailSchema),
    atCreation: filter,
    columns: 'disable name mailto mailto-user comment',
    fields: 'name author comment disable filter from-address mailto mailto-user origin',
    deletable: 'author comment disable from-address mailto mailto-user',
  }),
  ...endpointCommands('smtp', {
    required: { 'from-address': smtpFrom, server: smtpServer },
    optional: { ...optionsOf(smtpSchema, ['from-address', 'server']), password: secret('Password at the mail server.') },
    columns: 'disable name server from-address mailto mailto-user comment',
    fields: 'from-address name server author comment disable mailto mailto-user mode origin port username',
    deletable: 'author comment disable mailto mailto-user password port username',
  }),
  ...endpointCommands('webhook', {
    required: { method, url },
    optional: {
      ...optionsOf(webhookSchema, ['method', 'url', 'header']),
      header: namedValues('Header: name, and value as base64 of a template.'),
      secret: namedValues('Secret of templates: name, and value in base64. One without value keeps the value that is stored; those not given are removed.'),
    },
    columns: 'disable name method url comment',
    fields: 'method name url body comment disable header origin secret',
    deletable: 'comment disable header body secret',
  }),
  ...entryCommands({
    words: ['notification', 'matcher'],
    path: '/config/notifications/matchers',
    noun: 'notification matcher',
    required: {},
    optional: optionsOf(matcherSchema),
    columns: 'disable name origin comment',
    fields: 'name comment disable invert-match match-calendar match-field match-severity mode origin target',
    deletable: 'comment disable invert-match match-calendar match-field match-severity mode target',
    completion: matchers,
  }),
  {
    words: ['notification', 'target', 'list'],
    description: 'List all notification targets.',
    parameters: parameters({}, outputFormatOption),
    positional: [],
    run: async (context, given) => {
      const { data } = await context.api.call('GET', '/config/notifications/targets', forApi(given));
      showData(context, { kind: 'list', columns: listColumns('disable name type origin comment'), sort: false }, data, given);
    },
  },
  {
    words: ['notification', 'target', 'test'],
    description: 'Send a test message to a target.',
    parameters: parameters(name),
    positional: ['name'],
    completions: { name: targets },
    run: quietCall('POST', '/config/notifications/targets/{name}/test'),
  },
];
