import type { TSchema } from 'typebox';
import type { Endpoint, Permission } from './endpoint.ts';

/** The API description (OpenAPI 3.1) from the definitions that serve requests: what it says is what is checked. */

/** Keywords of JSON Schema that our parameter schemas use; what else they carry is for the command line. */
const keywords = ['type', 'description', 'default', 'enum', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'format'] as const;

interface SchemaObject {
  [keyword: string]: unknown;
}

export interface OpenApiDocument {
  openapi: '3.1.0';
  info: { title: string; version: string; description: string };
  servers: Array<{ url: string; description: string }>;
  components: { securitySchemes: Record<string, SchemaObject> };
  paths: Record<string, Record<string, SchemaObject>>;
}

/** `programVersion`: of this program. */
export function openApiDocument(endpoints: readonly Endpoint[], programVersion: string): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {};
  const sorted = endpoints.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.method < b.method ? -1 : 1));
  for (const endpoint of sorted) (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operationOf(endpoint);
  return {
    openapi: '3.1.0',
    info: { title: 'Farshore API', version: programVersion, description: 'The API of Proxmox Backup Server 4.2, and what goes beyond it. Errors are plain text.' },
    servers: [{ url: '/api2/json', description: 'Values under `data`; errors as bare text with their status.' }, { url: '/api2/extjs', description: 'Errors as JSON with status 200.' }],
    components: {
      securitySchemes: {
        token: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'PBSAPIToken=user@realm!name:secret' },
        ticket: { type: 'apiKey', in: 'cookie', name: 'PBSAuthCookie', description: 'Ticket of a login. Everything but GET also needs its CSRFPreventionToken in the header of that name.' },
      },
    },
    paths,
  };
}

function operationOf(endpoint: Endpoint): SchemaObject {
  const { method, path, description, permission, parameters: schema, returns } = endpoint;
  const { properties, required = [] } = schema as unknown as { properties: Record<string, TSchema>; required?: string[] };
  const [inPath, others] = [[] as SchemaObject[], [] as Array<[string, TSchema]>];
  for (const [name, one] of Object.entries(properties)) {
    if (path.includes(`{${name}}`)) inPath.push({ name, in: 'path', required: true, ...described(one) });
    else others.push([name, one]);
  }
  const takesBody = (method === 'POST' || method === 'PUT') && (endpoint.kind === 'json' || (endpoint.kind === 'raw' && endpoint.body === 'form'));
  const inQuery = takesBody ? [] : others.map(([name, one]) => ({ name, in: 'query', required: required.includes(name), ...described(one) }));
  const isPublic = permission.kind === 'public';
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+/g, '_')}`.replace(/_$/, ''),
    summary: description,
    description: `Permission: ${permissionText(permission)}.${endpoint.kind === 'upgrade' ? ' Answers with 101 and goes on as a session.' : ''}`,
    tags: [path.split('/')[1]!],
    security: isPublic ? [] : [{ token: [] }, { ticket: [] }],
    ...(inPath.length + inQuery.length > 0 ? { parameters: [...inPath, ...inQuery] } : {}),
    ...(takesBody && others.length > 0 ? { requestBody: bodyOf(others, required) } : {}),
    responses: responsesOf(endpoint, returns),
  };
}

function described(schema: TSchema): SchemaObject {
  const { description, ...plain } = plainSchema(schema);
  return { ...(description === undefined ? {} : { description }), schema: plain };
}

function bodyOf(parameters: ReadonlyArray<[string, TSchema]>, required: readonly string[]): SchemaObject {
  const names = parameters.map(([name]) => name).filter((name) => required.includes(name));
  const schema = {
    type: 'object',
    properties: Object.fromEntries(parameters.map(([name, one]) => [name, plainSchema(one)])),
    ...(names.length === 0 ? {} : { required: names }),
    additionalProperties: false,
  };
  return { required: names.length > 0, content: { 'application/json': { schema }, 'application/x-www-form-urlencoded': { schema } } };
}

function responsesOf(endpoint: Endpoint, returns: TSchema | undefined): SchemaObject {
  const text = (description: string): SchemaObject => ({ description, content: { 'application/json': { schema: { type: 'string' } } } });
  const ok = { description: 'Done.', content: { 'application/json': { schema: { type: 'object', properties: { data: returns === undefined ? {} : plainSchema(returns) }, required: ['data'] } } } };
  const success = endpoint.kind === 'upgrade' ? { '101': { description: 'Session begins.' } } : { '200': endpoint.kind === 'json' ? ok : { description: 'Done.' } };
  return {
    ...success,
    '400': text('Wrong parameter, or the handler says why not.'),
    ...(endpoint.permission.kind === 'public' ? {} : { '401': text('Not logged in.') }),
    ...(endpoint.permission.kind === 'public' || endpoint.permission.kind === 'any' ? {} : { '403': text('Permission missing.') }),
  };
}

/** JSON Schema without our own keywords. Formats are ours where JSON Schema does not know them, which it allows. */
function plainSchema(schema: TSchema): SchemaObject {
  const given = schema as unknown as SchemaObject;
  const kept = Object.fromEntries(keywords.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]));
  const { items, properties } = given as { items?: TSchema; properties?: Record<string, TSchema> };
  return {
    ...(given['enum'] === undefined ? {} : { type: 'string' }),
    ...kept,
    ...(items === undefined ? {} : { items: plainSchema(items) }),
    ...(properties === undefined ? {} : { properties: Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, plainSchema(one)])), ...(given['required'] === undefined ? {} : { required: given['required'] }) }),
  };
}

/** For people: `Datastore.Audit or Datastore.Backup on /datastore/{store}`. */
export function permissionText(permission: Permission): string {
  switch (permission.kind) {
    case 'public':
      return 'none';
    case 'any':
      return 'any login; what is missing is checked or left out inside';
    case 'root':
      return 'root@pam only';
    case 'self':
      return 'the user named in the path';
    case 'privilege':
      return `${permission.privileges.join(permission.partial === true ? ' or ' : ' and ')} on ${permission.path}`;
    case 'or':
      return permission.of.map(permissionText).join(', or ');
    case 'and':
      return permission.of.map(permissionText).join(', and ');
    default:
      return permission satisfies never;
  }
}
