import { isAbsolute } from 'node:path';
import { Type, type TString } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import {
  backendOf, datastoreSchema, maintenanceOf, maintenanceString, type DatastoreRecord, type DatastoreTable, type MaintenanceMode,
} from '../../config/datastore-config.ts';
import { readPropertyString, writePropertyString } from '../../config/schema-check.ts';
import { configDigest, datastoreName, deletable, flag } from '../../config/schemas.ts';
import { changedRecord } from '../../config/section-table.ts';
import { ParameterError } from '../../protocol/parameters.ts';
import { scheduleChanges } from '../../schedule/job-state.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import type { DatastoreCreations } from '../datastore-creation.ts';
import type { DatastoreRemovals } from '../datastore-removal.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { trimmedComment } from './job-section.ts';

export interface DatastoreConfigParts {
  table: DatastoreTable;
  access: AccessControl;
  states: JobStates;
  creations: DatastoreCreations;
  removals: DatastoreRemovals;
}

/** Retention options, which the reference moved to prune jobs. */
const legacyNames = ['keep-last', 'keep-hourly', 'keep-daily', 'keep-weekly', 'keep-monthly', 'keep-yearly', 'prune-schedule'] as const;

const deletableNames = [
  'comment', 'gc-schedule', 'gc-on-unmount', 'prune-schedule', 'keep-last', 'keep-hourly', 'keep-daily', 'keep-weekly', 'keep-monthly', 'keep-yearly', 'verify-new', 'notify-user',
  'notify', 'notification-mode', 'tuning', 'maintenance-mode', 'notification-thresholds', 'counter-reset-schedule',
] as const;

/** A property string as a parameter, checked by what it spells. */
function spelled(schema: TString): TString {
  const check = (text: string): string | null => {
    const read = readPropertyString(schema, text);
    return 'problem' in read ? `parameter verification failed - ${read.problem}` : null;
  };
  return Type.String({ ...schema, check });
}

const { name: _name, path, backend, 'backing-device': backingDevice, ...options } = datastoreSchema.properties;
const settings = {
  ...options,
  'maintenance-mode': Type.Optional(spelled(options['maintenance-mode'])),
  'notification-thresholds': Type.Optional(spelled(options['notification-thresholds'])),
  notify: Type.Optional(spelled(options.notify)),
  tuning: Type.Optional(spelled(options.tuning)),
};

/** `/config/datastore` (spec rest-api 10.6, retention 9). */
export function datastoreConfigEndpoints(parts: DatastoreConfigParts): Endpoint[] {
  return [...readEndpoints(parts), createEndpoint(parts), updateEndpoint(parts), removeEndpoint(parts)];
}

function readEndpoints({ table, access }: DatastoreConfigParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/datastore',
      description: 'List configured datastores.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      returns: Type.Array(datastoreSchema),
      handler: async (_, caller) => {
        const { records, digest } = table.list();
        const visible = records.filter((record) => access.check(caller.authId, `/datastore/${record.name}`, ['Datastore.Audit']));
        return new Reply(visible, { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/datastore/{name}',
      description: "Read a datastore's configuration.",
      parameters: Type.Object({ name: datastoreName }),
      permission: { kind: 'privilege', path: '/datastore/{name}', privileges: ['Datastore.Audit'] },
      returns: datastoreSchema,
      handler: async ({ name }) => new Reply(table.get(name), { digest: table.digest() }),
    }),
  ];
}

function createEndpoint({ table, access, creations }: DatastoreConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'POST',
    path: '/config/datastore',
    description: 'Create a datastore.',
    parameters: Type.Object({
      name: datastoreName,
      path,
      backend: Type.Optional(spelled(backend)),
      'backing-device': backingDevice,
      ...settings,
      'overwrite-in-use': Type.Optional(flag('Take over a bucket that is marked as in use.', { default: false })),
      'reuse-datastore': Type.Optional(flag('Take over an existing datastore as it is.', { default: false })),
    }),
    permission: { kind: 'privilege', path: '/datastore', privileges: ['Datastore.Allocate'] },
    returns: Type.String(),
    handler: async (given, caller) => {
      if (table.find(given.name) !== undefined) throw new ParameterError([['name', `datastore '${given.name}' already exists.`]]);
      checkPlace(given, access, caller.authId);
      const record = changedRecord(normalized(given), { delete: [...legacyNames, 'overwrite-in-use', 'reuse-datastore', ...(given.notify === '' ? ['notify'] : [])] });
      const prune = Object.fromEntries(legacyNames.map((name) => [name, given[name]] as const).filter(([, value]) => value !== undefined));
      return creations.start({ record: trimmedComment(record), reuse: given['reuse-datastore'] ?? false, prune }, caller.authId);
    },
  });
}

/** What this version has no place for is refused before anything is made. */
function checkPlace(given: DatastoreRecord, access: AccessControl, authId: string): void {
  const removable = given['backing-device'] !== undefined;
  if (!removable && !isAbsolute(given.path)) throw new ParameterError([['path', `expected an absolute path, '${given.path}' is not`]]);
  if (removable && isAbsolute(given.path)) throw new ParameterError([['path', `expected a relative on-device path, '${given.path}' is not`]]);
  if (!removable && given['gc-on-unmount'] !== undefined) throw new ParameterError([['gc-on-unmount', 'only supported on removable datastores']]);
  if (removable) access.require(authId, '/system/disks', ['Sys.Modify']);
  if (removable) throw new ParameterError([['backing-device', 'this version has no removable datastores: mount the device yourself and create the datastore on its path']]);
  if (backendOf(given).type === 's3') throw new ParameterError([['backend', 'this version has no S3 datastores']]);
}

/** The maintenance mode as it is stored: its type first, without key. */
function normalized<T extends { 'maintenance-mode'?: string }>(record: T): T {
  const text = record['maintenance-mode'];
  if (text === undefined) return record;
  const mode = maintenanceOf({ name: '', path: '', 'maintenance-mode': text })!;
  return { ...record, 'maintenance-mode': writePropertyString(maintenanceString, mode) };
}

function modeOf(record: DatastoreRecord): MaintenanceMode['type'] | undefined {
  return maintenanceOf(record)?.type;
}

function updateEndpoint({ table, states }: DatastoreConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'PUT',
    path: '/config/datastore/{name}',
    description: "Change a datastore's configuration.",
    parameters: Type.Object({ name: datastoreName, ...settings, delete: Type.Optional(deletable(deletableNames)), digest: Type.Optional(configDigest) }),
    permission: { kind: 'privilege', path: '/datastore/{name}', privileges: ['Datastore.Modify'] },
    handler: async ({ name, delete: names = [], digest, ...given }) => {
      const legacy = legacyNames.find((one) => given[one] !== undefined);
      if (legacy !== undefined) throw new ParameterError([[legacy, 'datastore prune settings have been replaced by prune jobs']]);
      const { notify, ...others } = normalized(given);
      const changes = notify === '' ? { delete: [...names, 'notify'], set: others } : { delete: names, set: { ...others, notify } };
      let renewed = false;
      await table.update(
        name,
        (before) => {
          if (given['gc-on-unmount'] !== undefined && before['backing-device'] === undefined) throw new ParameterError([['gc-on-unmount', 'only supported on removable datastores']]);
          const after = changedRecord(before, changes);
          // Half of its data may be gone.
          if (modeOf(before) === 'delete' && modeOf(after) !== 'delete') throw new HttpError(400, 'datastore is being deleted');
          const schedule = given['gc-schedule'];
          renewed = scheduleChanges(before['gc-schedule'], { ...(schedule === undefined ? {} : { schedule }), remove: names.map((one) => (one === 'gc-schedule' ? 'schedule' : one)) });
          return after;
        },
        { digest },
      );
      if (renewed) await states.renew({ jobType: 'garbage_collection', id: name });
      return null;
    },
  });
}

function removeEndpoint({ removals }: DatastoreConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'DELETE',
    path: '/config/datastore/{name}',
    description: 'Remove a datastore from the configuration.',
    parameters: Type.Object({
      name: datastoreName,
      'destroy-data': Type.Optional(flag("Delete the datastore's files, too.", { default: false })),
      digest: Type.Optional(configDigest),
      'keep-job-configs': Type.Optional(flag('Keep the jobs and access control entries of the datastore.', { default: false })),
    }),
    permission: { kind: 'privilege', path: '/datastore/{name}', privileges: ['Datastore.Allocate'] },
    returns: Type.String(),
    handler: async ({ name, 'destroy-data': destroyData = false, 'keep-job-configs': keepJobConfigs = false, digest }, caller) =>
      removals.start({ name, destroyData, keepJobConfigs, digest }, caller.authId),
  });
}
