import { Type } from 'typebox';
import type { DatastoreTable } from '../../../config/datastore-config.ts';
import type { PruneJobTable, SyncJobTable, VerifyJobTable } from '../../../config/job-config.ts';
import { endpointKinds, notificationName } from '../../../config/notification-config.ts';
import { oneOf } from '../../../config/schemas.ts';
import type { NotificationEntities } from '../../../notify/entities.ts';
import type { Notifier } from '../../../notify/notifier.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../../endpoint.ts';
import { mayChange, maySee, origin } from './endpoints.ts';

export interface NotificationTargetParts {
  entities: NotificationEntities;
  notifier: Pick<Notifier, 'test'>;
  hostname: string;
  datastores: Pick<DatastoreTable, 'list'>;
  pruneJobs: Pick<PruneJobTable, 'list'>;
  syncJobs: Pick<SyncJobTable, 'list'>;
  verifyJobs: Pick<VerifyJobTable, 'list'>;
}

/** `contract` and the type `freshness` are not the reference's. */
const fieldNames = ['contract', 'datastore', 'hostname', 'job-id', 'media-pool', 'type'];
const eventTypes = ['acme', 'freshness', 'gc', 'package-updates', 'prune', 'sync', 'system-mail', 'tape-backup', 'tape-load', 'thresholds', 'verify'];

const text = (description: string) => Type.String({ description });
const targetView = Type.Object({
  comment: Type.Optional(text('Comment.')),
  disable: Type.Optional(Type.Boolean({ description: 'Not used.' })),
  name: text('Name.'),
  origin,
  type: oneOf(endpointKinds, 'Kind of target.'),
});

/** `/config/notifications/targets` and what a form for matchers proposes (spec rest-api 11). */
export function notificationEndpoints(parts: NotificationTargetParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/notifications/targets',
      description: 'List all notification targets.',
      parameters: Type.Object({}),
      permission: maySee,
      returns: Type.Array(targetView),
      handler: async () => parts.entities.targets(),
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/config/notifications/targets/{name}/test',
      description: 'Send a test message to a target.',
      parameters: Type.Object({ name: notificationName }),
      permission: mayChange,
      handler: async ({ name }) => {
        await parts.notifier.test(name);
        return null;
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/notifications/matcher-fields',
      description: 'Fields that matchers can look at.',
      parameters: Type.Object({}),
      permission: maySee,
      returns: Type.Array(Type.Object({ name: text('Name of the field.') })),
      handler: async () => fieldNames.map((name) => ({ name })),
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/notifications/matcher-field-values',
      description: 'Values that these fields can have on this server.',
      parameters: Type.Object({}),
      permission: maySee,
      returns: Type.Array(Type.Object({ comment: Type.Optional(text('Comment.')), field: text('Field.'), value: text('Value.') })),
      handler: async () => knownValues(parts),
    }),
  ];
}

interface KnownValue {
  field: string;
  value: string;
  comment: string | null;
}

function knownValues({ hostname, ...tables }: NotificationTargetParts): Reply {
  const verifyJobs = tables.verifyJobs.list();
  const values: KnownValue[] = [
    ...tables.datastores.list().records.map(({ name, comment = null }) => ({ field: 'datastore', value: name, comment })),
    { field: 'hostname', value: hostname, comment: null },
    ...[...tables.pruneJobs.list().records, ...tables.syncJobs.list().records, ...verifyJobs.records].map(({ id, comment = null }) => ({ field: 'job-id', value: id, comment })),
    ...eventTypes.map((value) => ({ field: 'type', value, comment: null })),
  ];
  const key = ({ field, value }: KnownValue): string => `${field}\n${value}`;
  // The digest is that of the last file that the reference looks at.
  return new Reply(values.toSorted((a, b) => (key(a) < key(b) ? -1 : 1)), { digest: verifyJobs.digest });
}
