import { Type } from 'typebox';
import { datastoreName, flag, keepOptions, oneOf, propertyString, userId, wholeNumber } from '../../config/schemas.ts';
import type { Command } from '../command.ts';
import { calendarEvents, datastores, userIds } from '../completions.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import { awaitQuietTask, presentTask } from '../../terminal/task-follow.ts';
import { commentOption, deleteOption, described, digestOption, outputFormatOption, parameters, scheduleOption } from './parameters.ts';
import { previewRemoval } from './datastore-removal-preview.ts';
import { forApi, listCommand, plainColumns, showCommand } from './section.ts';
import type { Section } from './section.ts';

const section: Section = {
  word: 'datastore',
  key: 'name',
  keySchema: datastoreName,
  path: '/config/datastore',
  noun: 'datastore',
  completions: { name: datastores },
};

const whenToNotify = Type.Optional(oneOf(['never', 'always', 'error'], 'When to send.'));
const threshold = Type.Optional(wholeNumber('Number of requests.'));
const traffic = Type.Optional(Type.String({ minLength: 1, maxLength: 64 }));

const maintenanceMode = Type.Object({
  type: oneOf(['read-only', 'offline', 'delete', 'unmount', 's3-refresh'], 'Kind of maintenance.'),
  message: Type.Optional(Type.String({ maxLength: 64 })),
});

const tuning = Type.Object({
  'chunk-order': Type.Optional(oneOf(['none', 'inode'], 'Order in which chunks are read.')),
  'default-verification-readers': Type.Optional(wholeNumber('Threads that read.', { minimum: 1, maximum: 32 })),
  'default-verification-workers': Type.Optional(wholeNumber('Threads that verify.', { minimum: 1, maximum: 32 })),
  'gc-atime-cutoff': Type.Optional(wholeNumber('Minutes.', { minimum: 1, maximum: 2880 })),
  'gc-atime-safety-check': Type.Optional(flag('Check that access times are kept.')),
  'gc-cache-capacity': Type.Optional(wholeNumber('Digests.', { minimum: 0, maximum: 8_388_608 })),
  'sync-level': Type.Optional(oneOf(['none', 'file', 'filesystem'], 'When written chunks are flushed.')),
});

/** Options that `create` and `update` share. */
const settings = {
  ...commentOption,
  'counter-reset-schedule': scheduleOption('When the counters behind notification thresholds are reset.')['schedule']!,
  'gc-on-unmount': flag('Run garbage collection before a removable datastore is unmounted.'),
  'gc-schedule': scheduleOption('Run garbage collection job at specified schedule.')['schedule']!,
  ...keepOptions,
  'maintenance-mode': propertyString(maintenanceMode, {
    description: 'Keeps writers, or everybody, away from the datastore; the message says why.',
    defaultKey: 'type',
    typetext: '[type=<enum> [,message=<string>]]',
  }),
  'notification-mode': oneOf(['legacy-sendmail', 'notification-system'], 'How notifications about this datastore are sent.', { default: 'notification-system' }),
  'notification-thresholds': propertyString(
    Type.Object({ 's3-delete': threshold, 's3-download': traffic, 's3-get': threshold, 's3-head': threshold, 's3-post': threshold, 's3-put': threshold, 's3-upload': traffic }),
    { description: 'Counts from which a notification is sent.' },
  ),
  notify: propertyString(Type.Object({ gc: whenToNotify, prune: whenToNotify, sync: whenToNotify, verify: whenToNotify }), {
    description: 'When each kind of task sends a notification.',
  }),
  'notify-user': described(userId, 'User ID'),
  'prune-schedule': scheduleOption('Run prune job at specified schedule.')['schedule']!,
  tuning: propertyString(tuning, { description: 'Tuning options.' }),
  'verify-new': flag('Verify new backups as soon as they are complete.'),
};

const create: Command = {
  words: ['datastore', 'create'],
  description: 'Create a datastore.',
  parameters: parameters(
    { name: datastoreName, path: Type.String({ minLength: 1, maxLength: 4096, description: 'Absolute path of the datastore, or its path on a removable device.' }) },
    {
      ...settings,
      backend: Type.String({ typetext: '<backend-config>', description: 'Where the chunks are kept.' }),
      'backing-device': Type.String({ pattern: '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$', description: 'UUID of the file system of a removable datastore.' }),
      'overwrite-in-use': flag('Take over a bucket that is marked as in use.', { default: false }),
      'reuse-datastore': flag('Take over an existing datastore as it is.', { default: false }),
      ...outputFormatOption,
    },
  ),
  positional: ['name', 'path'],
  completions: { 'gc-schedule': calendarEvents, 'prune-schedule': calendarEvents, 'notify-user': userIds },
  run: async (context, given) => {
    const { data } = await context.api.call('POST', '/config/datastore', forApi(given));
    return presentTask(context, data, given);
  },
};

const deletable =
  'comment gc-schedule gc-on-unmount prune-schedule keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly verify-new notify-user notify notification-mode tuning maintenance-mode notification-thresholds counter-reset-schedule';

const update: Command = {
  words: ['datastore', 'update'],
  description: 'Change the configuration of a datastore.',
  parameters: parameters({ name: datastoreName }, { ...settings, ...deleteOption(deletable.split(' ')), ...digestOption, ...outputFormatOption }),
  positional: ['name'],
  completions: { name: datastores, 'gc-schedule': calendarEvents, 'prune-schedule': calendarEvents, 'notify-user': userIds },
  run: async (context, given) => {
    const { data } = await context.api.call('PUT', '/config/datastore/{name}', forApi(given));
    const format = outputFormat(given['output-format'], context.output);
    if (format !== 'text') context.stdout.write(jsonText(data, format));
  },
};

const remove: Command = {
  words: ['datastore', 'remove'],
  description: 'Remove a datastore from the configuration.',
  parameters: parameters(
    { name: datastoreName },
    {
      'destroy-data': flag("Delete the datastore's files, too.", { default: false }),
      'keep-job-configs': flag('Keep the jobs and access control entries of the datastore.', { default: false }),
      ...digestOption,
      'dry-run': flag('Say what would be removed, and remove nothing.', { default: false }),
    },
  ),
  positional: ['name'],
  completions: { name: datastores },
  run: async (context, { 'dry-run': isDry, ...given }) => {
    if (isDry === true) return previewRemoval(context, given);
    const { data } = await context.api.call('DELETE', '/config/datastore/{name}', given);
    await awaitQuietTask(context, data);
  },
};

export const datastoreCommands: readonly Command[] = [
  listCommand(section, () => plainColumns('name path comment')),
  showCommand(
    section,
    plainColumns(
      'name path backend backing-device comment counter-reset-schedule gc-on-unmount gc-schedule maintenance-mode notification-mode notification-thresholds notify notify-user prune-schedule tuning verify-new keep-daily keep-hourly keep-last keep-monthly keep-weekly keep-yearly',
    ),
  ),
  create,
  update,
  remove,
];
