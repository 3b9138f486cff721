import { Type, type Static, type TString } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { sectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { readPropertyString } from './schema-check.ts';
import { byteSize, comment, datastoreName, flag, keepOptions, lineOfText, oneOf, propertyString, safeId, schedule, userId, wholeNumber } from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** datastore.cfg (spec rest-api 9.4, retention 7 and 9.4). */

const { Optional } = Type;

export const tuningOptions = Type.Object({
  'chunk-order': Optional(oneOf(['none', 'inode'], 'Order in which chunks are read.', { default: 'inode' })),
  'default-verification-readers': Optional(wholeNumber('Readers of a verification.', { minimum: 1, maximum: 32, default: 1 })),
  'default-verification-workers': Optional(wholeNumber('Workers of a verification.', { minimum: 1, maximum: 32, default: 4 })),
  'gc-atime-cutoff': Optional(wholeNumber('Minutes that an unused chunk is kept.', { minimum: 1, maximum: 2880, default: 1445 })),
  'gc-atime-safety-check': Optional(flag('Check that access times are updated before garbage collection.', { default: true })),
  'gc-cache-capacity': Optional(wholeNumber('Digests that garbage collection remembers (0 = none).', { minimum: 0, maximum: 8_388_608, default: 1_048_576 })),
  'sync-level': Optional(oneOf(['none', 'file', 'filesystem'], 'When chunks are brought to the disk.', { default: 'filesystem' })),
});
export type TuningOptions = Static<typeof tuningOptions>;

export const maintenanceTypes = ['read-only', 'offline', 'delete', 'unmount', 's3-refresh'] as const;
export const maintenanceMode = Type.Object({
  type: oneOf([...maintenanceTypes], 'Kind of maintenance.'),
  /** No comma: the reference cannot store one, in quotes or not (spec retention 7.1). */
  message: Optional(Type.String({ pattern: '^[^\\x00-\\x1f\\x7f,]*$', maxLength: 64, description: 'Reason shown to users.' })),
});
export type MaintenanceMode = Static<typeof maintenanceMode>;

export const backendOptions = Type.Object({
  type: Optional(oneOf(['filesystem', 's3'], 'Where chunks lie.', { default: 'filesystem' })),
  bucket: Optional(lineOfText('S3 bucket.', { minLength: 3, maxLength: 63 })),
  client: Optional(safeId('S3 endpoint.')),
  'max-cache-size': Optional(byteSize('Size of the local cache.')),
});
export type BackendOptions = Static<typeof backendOptions>;

const notifyWhen = (what: string) => Optional(oneOf(['never', 'always', 'error'], `When ${what} sends a notification.`));
export const notifyOptions = Type.Object({
  gc: notifyWhen('garbage collection'),
  prune: notifyWhen('a prune job'),
  sync: notifyWhen('a sync job'),
  verify: notifyWhen('a verify job'),
});

const count = Optional(wholeNumber('Number of requests.'));
const notificationThresholds = Type.Object({
  's3-delete': count,
  's3-download': Optional(byteSize('Bytes downloaded.')),
  's3-get': count,
  's3-head': count,
  's3-post': count,
  's3-put': count,
  's3-upload': Optional(byteSize('Bytes uploaded.')),
});

export const notificationMode = oneOf(['legacy-sendmail', 'notification-system'], 'How notifications are sent.', { default: 'notification-system' });

const backendString = propertyString(backendOptions, { description: 'Where chunks lie.', defaultKey: 'type', typetext: '<backend-config>' });
/** Stored normalised, `offline,message=disk swap`: `writePropertyString(maintenanceString, mode)`. */
export const maintenanceString = propertyString(maintenanceMode, { description: 'Maintenance mode.', defaultKey: 'type' });
export const tuningString = propertyString(tuningOptions, { description: 'Tuning options.' });

export const datastoreSchema = Type.Object({
  name: datastoreName,
  path: Type.String({ minLength: 1, maxLength: 4096, pattern: '^[^\\x00-\\x1f\\x7f]*$', description: 'Absolute path of the datastore, or the path on its backing device.' }),
  backend: Optional(backendString),
  'backing-device': Optional(Type.String({ pattern: '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$', description: 'UUID of the file system of a removable datastore.' })),
  comment: Optional(comment),
  'counter-reset-schedule': Optional(schedule),
  'gc-on-unmount': Optional(flag('Collect garbage before a removable datastore is unmounted.')),
  'gc-schedule': Optional(schedule),
  ...keepOptions,
  'maintenance-mode': Optional(maintenanceString),
  'notification-mode': Optional(notificationMode),
  'notification-thresholds': Optional(propertyString(notificationThresholds, { description: 'Numbers of S3 requests that send a notification.' })),
  notify: Optional(propertyString(notifyOptions, { description: 'When jobs send notifications.' })),
  'notify-user': Optional(userId),
  'prune-schedule': Optional(schedule),
  tuning: Optional(tuningString),
  'verify-new': Optional(flag('Verify each backup as soon as it is finished.')),
});
export type DatastoreRecord = Static<typeof datastoreSchema>;

export const datastoreType = sectionType('datastore', 'name', datastoreSchema);

export type DatastoreTable = SectionTable<typeof datastoreSchema>;

/** Its lock is also held while a datastore is opened (spec retention 7.3): `table.file.withLock`. */
export function datastoreTable(paths: InstallationPaths): DatastoreTable {
  return new SectionTable(sectionFile(paths, 'datastore.cfg', [datastoreType]), datastoreType);
}

function spelledOut(name: string, schema: TString, text: string): Record<string, unknown> {
  const read = readPropertyString(schema, text);
  if ('problem' in read) throw new ConfigError('config.value', `'${name}': ${read.problem}`);
  return read.value;
}

/** The options in `tuning`, those that are given. ConfigError when the text does not fit. */
export function tuningOf(record: DatastoreRecord): TuningOptions {
  return record.tuning === undefined ? {} : spelledOut('tuning', tuningString, record.tuning);
}

/** The maintenance mode of a datastore; null when it is in none. */
export function maintenanceOf(record: DatastoreRecord): MaintenanceMode | null {
  const text = record['maintenance-mode'];
  return text === undefined ? null : (spelledOut('maintenance-mode', maintenanceString, text) as MaintenanceMode);
}

export function backendOf(record: DatastoreRecord): BackendOptions {
  return record.backend === undefined ? { type: 'filesystem' } : { type: 'filesystem', ...spelledOut('backend', backendString, record.backend) };
}
