import { Type, type TObject, type TProperties } from 'typebox';
import { gotifySchema, namedValue, notificationName, sendmailSchema, smtpSchema, webhookSchema, type EndpointKind } from '../../../config/notification-config.ts';
import { configDigest, deletable, lineOfText, oneOf, propertyString } from '../../../config/schemas.ts';
import type { EntitySecrets, NotificationEntities } from '../../../notify/entities.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../../endpoint.ts';

export const maySee = { kind: 'privilege', path: '/system/notifications', privileges: ['Sys.Audit'] } as const;
export const mayChange = { kind: 'privilege', path: '/system/notifications', privileges: ['Sys.Modify'] } as const;

/** Reported; taken and not looked at. */
export const origin = oneOf(['user-created', 'builtin', 'modified-builtin'], 'Whether somebody made or changed the entry.');
const filter = lineOfText('Of older versions; not looked at.', { maxLength: 4096 });

const secretSchemas = {
  token: lineOfText('Token of the application at the Gotify server.', { maxLength: 4096 }),
  password: lineOfText('Password at the mail server.', { maxLength: 4096 }),
  secret: Type.Array(propertyString(namedValue, { description: 'Secret of templates: name, and value in base64. One without value keeps the value that is stored.' }), {
    maxItems: 256,
    description: 'Secrets of templates; those that are not given are removed.',
  }),
};
type SecretName = keyof typeof secretSchemas;

interface EndpointGroup {
  kind: EndpointKind;
  schema: TObject;
  /** Its secret parameter, and whether it is needed to create one. */
  secret?: { name: SecretName; isRequired: boolean };
  hasFilter: boolean;
  deletable: readonly string[];
}

const groups: readonly EndpointGroup[] = [
  { kind: 'gotify', schema: gotifySchema, secret: { name: 'token', isRequired: true }, hasFilter: true, deletable: ['comment', 'disable'] },
  { kind: 'sendmail', schema: sendmailSchema, hasFilter: true, deletable: ['author', 'comment', 'disable', 'from-address', 'mailto', 'mailto-user'] },
  { kind: 'smtp', schema: smtpSchema, secret: { name: 'password', isRequired: false }, hasFilter: false, deletable: ['author', 'comment', 'disable', 'mailto', 'mailto-user', 'password', 'port', 'username'] },
  { kind: 'webhook', schema: webhookSchema, secret: { name: 'secret', isRequired: false }, hasFilter: false, deletable: ['comment', 'disable', 'header', 'body', 'secret'] },
];

/** `/config/notifications/endpoints` (spec server 14.1, rest-api 11). Secrets go in and never come out; whom a target talks to is for its administrators to say. */
export function notificationTargetEndpoints({ entities }: { entities: NotificationEntities }): Endpoint[] {
  return groups.flatMap((group) => [...readEndpoints(group, entities), ...writeEndpoints(group, entities)]);
}

function readEndpoints({ kind, schema, hasFilter }: EndpointGroup, entities: NotificationEntities): Endpoint[] {
  const path = `/config/notifications/endpoints/${kind}`;
  const view = Type.Object({
    ...schema.properties,
    ...(kind === 'webhook' ? { secret: Type.Optional(secretSchemas.secret) } : {}),
    ...(hasFilter ? { filter: Type.Optional(filter) } : {}),
    origin: Type.Optional(origin),
  });
  return [
    jsonEndpoint({ method: 'GET', path, description: `List ${kind} targets.`, parameters: Type.Object({}), permission: maySee, returns: Type.Array(view), handler: async () => entities.list(kind) }),
    jsonEndpoint({
      method: 'GET',
      path: `${path}/{name}`,
      description: `Read a ${kind} target.`,
      parameters: Type.Object({ name: notificationName }),
      permission: maySee,
      returns: view,
      handler: async ({ name }) => {
        const { record, digest } = entities.get(kind, name);
        return new Reply(record, { digest });
      },
    }),
  ];
}

function writeEndpoints({ kind, schema, secret, hasFilter, deletable: names }: EndpointGroup, entities: NotificationEntities): Endpoint[] {
  const path = `/config/notifications/endpoints/${kind}`;
  const secretSchema: TProperties = secret === undefined ? {} : { [secret.name]: secretSchemas[secret.name] };
  const optionalSecret = Type.Partial(Type.Object(secretSchema)).properties;
  const { name: _, ...changeable } = schema.properties;
  return [
    jsonEndpoint({
      method: 'POST',
      path,
      description: `Create a ${kind} target.`,
      parameters: Type.Object({
        // In the order in which the reference complains.
        ...(secret?.isRequired === true ? secretSchema : optionalSecret),
        ...schema.properties,
        ...(hasFilter ? { filter: Type.Optional(filter) } : {}),
        origin: Type.Optional(origin),
      }),
      permission: mayChange,
      handler: async (given: Record<string, unknown>) => {
        const { record, secrets } = parted(given);
        await entities.create(kind, record, secrets);
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${path}/{name}`,
      description: `Change a ${kind} target.`,
      parameters: Type.Object({
        name: notificationName,
        ...Type.Partial(Type.Object(changeable)).properties,
        ...optionalSecret,
        delete: Type.Optional(deletable([...names])),
        digest: Type.Optional(configDigest),
      }),
      permission: mayChange,
      handler: async ({ name, delete: removed, digest, ...given }: Record<string, unknown>) => {
        const { record, secrets } = parted(given);
        await entities.update(kind, name as string, { delete: removed as string[] | undefined, set: record }, { digest: digest as string | undefined, secrets });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${path}/{name}`,
      description: `Remove a ${kind} target.`,
      parameters: Type.Object({ name: notificationName }),
      permission: mayChange,
      handler: async ({ name }) => {
        await entities.remove(kind, name);
        return null;
      },
    }),
  ];
}

/** What is stored for all to read, and what is not. */
function parted(given: Record<string, unknown>): { record: Record<string, unknown>; secrets: EntitySecrets } {
  const { token, password, secret, filter: _filter, origin: _origin, ...record } = given;
  return { record, secrets: { token: token as string | undefined, password: password as string | undefined, secret: secret as string[] | undefined } };
}
