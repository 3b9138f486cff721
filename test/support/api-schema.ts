import type { Endpoint, Permission } from '../../src/api/endpoint.ts';
import { readFixture } from './golden.ts';

/** One parameter as the reference describes it. */
export interface ListedParameter {
  type: 'string' | 'boolean' | 'integer' | 'number' | 'array';
  optional?: true;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  default?: unknown;
  enum?: string[];
  pattern?: string;
  items?: ListedParameter;
  /** The text has a grammar of its own. */
  format?: true;
}

export type ListedPermission =
  | 'any'
  | 'public'
  | 'root'
  | { path: string; privileges: string[]; partial?: true }
  | { self: string }
  | { or: ListedPermission[] }
  | { and: ListedPermission[] };

/** One method of the reference's API; `parameters` only where this project may have it. */
export interface ListedMethod {
  method: string;
  path: string;
  permission: ListedPermission;
  parameters?: Record<string, ListedParameter>;
  /** A folder: lists what is below. */
  open?: true;
}

/**
 * All methods of the reference, reduced (test/fixtures/api/schema.jsonl). A permission whose path takes a variable that is not in the URI stands one
 * level higher there.
 * Those that begin sessions stand under the path that is asked for.
 */
export function listedMethods(): ListedMethod[] {
  return readFixture('api/schema.jsonl')
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const one = JSON.parse(line) as ListedMethod;
      if (!one.path.endsWith('/_upgrade_')) return one;
      const { open: _, ...rest } = one;
      return { ...rest, path: one.path.slice(0, -'/_upgrade_'.length) };
    });
}

export function labelOf({ method, path }: { method: string; path: string }): string {
  return `${method} ${path}`;
}

/** Our permission in the form of the list, to compare the two. */
export function listedPermission(permission: Permission): ListedPermission {
  switch (permission.kind) {
    case 'any':
    case 'public':
    case 'root':
      return permission.kind;
    case 'self':
      return { self: 'userid' };
    case 'privilege':
      return { path: permission.path, privileges: [...permission.privileges], ...(permission.partial === true && permission.privileges.length > 1 ? { partial: true as const } : {}) };
    case 'or':
      return { or: permission.of.map(listedPermission) };
    case 'and':
      return { and: permission.of.map(listedPermission) };
    default:
      return permission satisfies never;
  }
}

/** Our schema in the form of the list. */
export function listedParameter(schema: Readonly<Record<string, unknown>>, optional: boolean): ListedParameter {
  const choices = schema['enum'] as string[] | undefined;
  const kept = ['minimum', 'maximum', 'minLength', 'maxLength', 'pattern'].filter((name) => schema[name] !== undefined).map((name) => [name, schema[name]]);
  return {
    type: (choices === undefined ? schema['type'] : 'string') as ListedParameter['type'],
    ...(optional ? { optional: true } : {}),
    ...(choices === undefined ? {} : { enum: choices }),
    ...(schema['items'] === undefined ? {} : { items: listedParameter(schema['items'] as Record<string, unknown>, false) }),
    ...(schema['format'] === undefined && schema['propertyString'] === undefined ? {} : { format: true }),
    ...Object.fromEntries(kept),
  } as ListedParameter;
}

/** Parameters of an endpoint in the form of the list. */
export function listedParameters(endpoint: Endpoint): Record<string, ListedParameter> {
  const { properties, required } = endpoint.parameters as unknown as { properties: Record<string, Record<string, unknown>>; required?: string[] };
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, listedParameter(schema, !(required ?? []).includes(name))]));
}

/** Texts that tell patterns apart. */
const probes = ['', 'a', 'ab', 'A_1', '_x', '-x', '.x', 'a.b-c', 'a b', 'a/b', 'a/b/c/d/e/f/g/h/i', '/', '/a', '/a/', '/a//b', 'a:b', 'x@y', 'x@y!z', 'x!y@z', '@y', 'x@', 'ü', 'a\u0001', 'a\nb', 'a\u007f', '0'.repeat(64), 'A'.repeat(64), 'aa:'.repeat(31) + 'aa', 'AA:'.repeat(31) + 'AA', 'localhost', 'a-b', '1.2.3.4', '::1', '[::1]', 'a.example.com', 'http://x', '%41', "'", '"', '\\', '*', '~'];

/** Whether two patterns take the same of the probes; the first that they differ in. */
export function patternDifference(ours: string | undefined, theirs: string | undefined): string | null {
  const takes = (pattern: string | undefined, text: string): boolean => pattern === undefined || new RegExp(pattern, 'u').test(text);
  const found = probes.find((text) => takes(ours, text) !== takes(theirs, text));
  return found === undefined ? null : JSON.stringify(found);
}

/** Optional parameters that this project has beyond the reference. Whoever adds one names it here. */
export const ownParameters: ReadonlySet<string> = new Set(['adopted-from', 'backfill', 'bandwidth', 'dry-run']);

/** How our parameter differs from the reference's. Limits where the reference has none are ours to set. */
export function parameterDifferences(name: string, ours: ListedParameter, theirs: ListedParameter): string[] {
  const found: string[] = [];
  if (ours.type !== theirs.type) found.push(`${name}: type ${ours.type}, listed ${theirs.type}`);
  if (ours.optional !== theirs.optional) found.push(`${name}: ${ours.optional ? 'optional' : 'required'}, listed ${theirs.optional ? 'optional' : 'required'}`);
  for (const limit of ['minimum', 'maximum', 'minLength', 'maxLength'] as const) {
    if (theirs[limit] !== undefined && ours[limit] !== theirs[limit]) found.push(`${name}: ${limit} ${ours[limit] ?? 'none'}, listed ${theirs[limit]}`);
  }
  const choices = (one: ListedParameter): string => (one.enum ?? []).filter((choice) => !ownParameters.has(choice)).toSorted().join(' ');
  if (choices(ours) !== choices(theirs)) found.push(`${name}: one of ${choices(ours)}, listed ${choices(theirs)}`);
  if (theirs.pattern !== undefined) {
    const difference = patternDifference(ours.pattern, theirs.pattern);
    if (difference !== null) found.push(`${name}: the pattern differs for ${difference}`);
  }
  if (ours.items !== undefined && theirs.items !== undefined) found.push(...parameterDifferences(`${name}[]`, ours.items, theirs.items));
  return found;
}

