import { Type } from 'typebox';
import { matcherSchema, notificationName } from '../../../config/notification-config.ts';
import { configDigest, deletable } from '../../../config/schemas.ts';
import type { NotificationEntities } from '../../../notify/entities.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../../endpoint.ts';
import { mayChange, maySee, origin } from './endpoints.ts';

const path = '/config/notifications/matchers';
const view = Type.Object({ ...matcherSchema.properties, origin: Type.Optional(origin) });
const { name: _, ...changeable } = matcherSchema.properties;

/** `/config/notifications/matchers` (spec server 14.2, rest-api 11). */
export function notificationMatcherEndpoints({ entities }: { entities: NotificationEntities }): Endpoint[] {
  return [
    jsonEndpoint({ method: 'GET', path, description: 'List notification matchers.', parameters: Type.Object({}), permission: maySee, returns: Type.Array(view), handler: async () => entities.list('matcher') }),
    jsonEndpoint({
      method: 'GET',
      path: `${path}/{name}`,
      description: 'Read a notification matcher.',
      parameters: Type.Object({ name: notificationName }),
      permission: maySee,
      returns: view,
      handler: async ({ name }) => {
        const { record, digest } = entities.get('matcher', name);
        return new Reply(record, { digest });
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path,
      description: 'Create a notification matcher.',
      parameters: view,
      permission: mayChange,
      handler: async ({ origin: _origin, ...record }) => {
        await entities.create('matcher', record);
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${path}/{name}`,
      description: 'Change a notification matcher.',
      parameters: Type.Object({
        name: notificationName,
        ...Type.Partial(Type.Object(changeable)).properties,
        delete: Type.Optional(deletable(['comment', 'disable', 'invert-match', 'match-calendar', 'match-field', 'match-severity', 'mode', 'target'])),
        digest: Type.Optional(configDigest),
      }),
      permission: mayChange,
      handler: async ({ name, delete: names, digest, ...set }) => {
        await entities.update('matcher', name, { delete: names, set }, { digest });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${path}/{name}`,
      description: 'Remove a notification matcher.',
      parameters: Type.Object({ name: notificationName }),
      permission: mayChange,
      handler: async ({ name }) => {
        await entities.remove('matcher', name);
        return null;
      },
    }),
  ];
}
