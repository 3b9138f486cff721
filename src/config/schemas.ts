import { Type, type TArray, type TBoolean, type TEnum, type TInteger, type TObject, type TSchema, type TString } from 'typebox';

/**
 * Reusable value schemas (spec rest-api 4 and 9), shared by the configuration files, the API and the command line.
 * Patterns are those of the reference. Keywords beyond JSON Schema:
 *   `typetext`        how the command line shows the type, when `type`, `enum` and limits do not say it
 *   `format`          name of a grammar that is checked beyond the pattern, see schema-check.ts
 *   `propertyString`  the object that the string spells as `key=value,...`
 *   `defaultKey`      key of a value without `=` in such a string
 */

export const safeIdPattern = '[A-Za-z0-9_][A-Za-z0-9._\\-]*';
const userNamePattern = '[^\\s:/\\x00-\\x1f\\x7f]+';
const userIdPattern = `(?:${userNamePattern})@(?:${safeIdPattern})`;
const noControlPattern = '^[^\\x00-\\x1f\\x7f]*$';

export interface ValueNotes {
  description?: string;
  typetext?: string;
}

/** A safe id of the given length. */
export function safeId(description: string, minLength = 3, maxLength = 32): TString {
  return Type.String({ pattern: `^(?:${safeIdPattern})$`, minLength, maxLength, description });
}

/** A line of text without control characters. */
export function lineOfText(description: string, limits: { minLength?: number; maxLength?: number } = {}): TString {
  return Type.String({ pattern: noControlPattern, ...limits, description });
}

/** One of `values`. */
export function oneOf<V extends string[]>(values: readonly [...V], description: string, options: { default?: V[number] } = {}): TEnum<V> {
  return Type.Enum<V>(values, { description, ...options });
}

export function flag(description: string, options: { default?: boolean } = {}): TBoolean {
  return Type.Boolean({ description, ...options });
}

export function wholeNumber(description: string, limits: { minimum?: number; maximum?: number; default?: number } = {}): TInteger {
  return Type.Integer({ description, ...limits });
}

// --- names -------------------------------------------------------------------

export const datastoreName = safeId('Datastore name.');
export const jobId = safeId('Job ID.');
export const remoteName = safeId('Remote ID.');
export const trafficRuleName = safeId('Rule ID.');
export const encryptionKeyId = safeId('Encryption key ID.');
export const tokenName = safeId('Token name.', 1, 64);
export const realmName = safeId('Authentication domain ID.', 2, 32);
export const userId = Type.String({ pattern: `^${userIdPattern}$`, minLength: 3, maxLength: 64, format: 'user-id', description: 'User ID.' });
export const tokenId = Type.String({
  pattern: `^${userIdPattern}!(?:${safeIdPattern})$`,
  minLength: 3,
  maxLength: 64,
  format: 'auth-id',
  description: 'API token ID: user@realm!token.',
});
export const authId = Type.String({
  pattern: `^(?:${userIdPattern}|${userIdPattern}!(?:${safeIdPattern}))$`,
  minLength: 3,
  maxLength: 64,
  format: 'auth-id',
  description: 'Authentication ID: user@realm or user@realm!token.',
});
/** Root is the empty string. `format`: at most 7 components, which the pattern does not say. */
export const namespace = Type.String({
  pattern: `^(?:(?:(?:${safeIdPattern})/){0,7}(?:${safeIdPattern}))?$`,
  maxLength: 256,
  format: 'namespace',
  description: 'Namespace.',
});
export const backupType = oneOf(['vm', 'ct', 'host'], 'Backup type.');
export const backupId = Type.String({ pattern: `^${safeIdPattern}$`, description: 'Backup ID.' });
export const backupTime = wholeNumber('Backup time (Unix epoch).', { minimum: 1 });
export const nodeName = Type.String({
  pattern: '^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?))$',
  description: "Node name, or 'localhost'.",
});

// --- values ------------------------------------------------------------------

export const comment = lineOfText('Comment.', { maxLength: 128 });
/** Calendar event; its grammar is known in a higher layer, which registers it (`registerFormat`). */
export const schedule = Type.String({ maxLength: 1024, pattern: noControlPattern, typetext: '<calendar-event>', format: 'calendar-event', description: 'Schedule (calendar event).' });
/** Bytes per second or bytes, as text: `10 MiB`. */
export function byteSize(description: string): TString {
  return Type.String({ minLength: 1, maxLength: 64, format: 'human-byte', description });
}
export const rateIn = byteSize('Limit of incoming data per second.');
export const rateOut = byteSize('Limit of outgoing data per second.');
export const burstIn = byteSize('Incoming data that may exceed the rate for a moment.');
export const burstOut = byteSize('Outgoing data that may exceed the rate for a moment.');
export const fingerprint = Type.String({
  pattern: '^(?:[0-9a-fA-F][0-9a-fA-F])(?::[0-9a-fA-F][0-9a-fA-F]){31}$',
  description: 'SHA-256 fingerprint of the certificate.',
});
export const configDigest = Type.String({
  pattern: '^[a-f0-9]{64}$',
  description: 'Refuse the change when the configuration file has another SHA-256 digest, so that nobody overwrites the change of somebody else.',
});
/** `[include:|exclude:]` and `type:`, `group:` or `regex:` (spec sync 2.2). The regex itself is checked once its engine is registered. */
export const groupFilter = Type.String({
  maxLength: 4096,
  pattern: `^(?:include:|exclude:)?(?:type:(?:vm|ct|host)|group:(?:vm|ct|host)/${safeIdPattern}|regex:[^\\x00-\\x1f\\x7f]*)$`,
  format: 'group-filter',
  typetext: '[<exclude:|include:>]<type:<vm|ct|host>|group:GROUP|regex:RE>',
  description: 'Group filter.',
});
export const groupFilters = Type.Array(groupFilter, {
  maxItems: 1024,
  typetext: '[<exclude:|include:>]<type:<vm|ct|host>|group:GROUP|regex:RE>',
  description: 'Groups to take: those that any include filter names (all when there is none) and no exclude filter names.',
});
export const maxDepth = wholeNumber('How many levels of namespaces to go down (0 = none, absent = all).', { minimum: 0, maximum: 7 });
export const transferLast = wholeNumber('Take only the newest N snapshots of each group.', { minimum: 1 });
export const threads = (description: string, byDefault: number): TInteger =>
  wholeNumber(description, { minimum: 1, maximum: 32, default: byDefault });
export const tcpPort = wholeNumber('TCP port.', { minimum: 0, maximum: 65_535 });
export const password = lineOfText('Password.', { minLength: 8, maxLength: 64 });
/** Of a remote, or one that is only compared with a stored hash. */
export const givenPassword = lineOfText('Password or token secret.', { minLength: 1, maxLength: 1024 });
export const enable = flag('Enable the account.', { default: true });
export const expire = wholeNumber('When the account expires (seconds since the epoch, 0 = never).', { minimum: 0, default: 0 });
export const personName = (description: string): TString => lineOfText(description, { minLength: 2, maxLength: 64 });
export const email = lineOfText('E-mail address.', { minLength: 2, maxLength: 64 });
export const aclPath = Type.String({ pattern: `^/(?:(?:${safeIdPattern})(?:/(?:${safeIdPattern}))*)?$`, minLength: 1, maxLength: 128, description: 'Access control path.' });

/** The pieces of `keep-*`, each optional. */
export const keepOptions = {
  'keep-last': Type.Optional(wholeNumber('Number of backups to keep.', { minimum: 1 })),
  'keep-hourly': Type.Optional(wholeNumber('Number of hourly backups to keep.', { minimum: 1 })),
  'keep-daily': Type.Optional(wholeNumber('Number of daily backups to keep.', { minimum: 1 })),
  'keep-weekly': Type.Optional(wholeNumber('Number of weekly backups to keep.', { minimum: 1 })),
  'keep-monthly': Type.Optional(wholeNumber('Number of monthly backups to keep.', { minimum: 1 })),
  'keep-yearly': Type.Optional(wholeNumber('Number of yearly backups to keep.', { minimum: 1 })),
};

const octet = '(?:25[0-5]|(?:2[0-4]|1[0-9]|[1-9])?[0-9])';
const ipv4 = `(?:${octet}\\.){3}${octet}`;
const dnsLabel = '(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?)';
/** DNS name, IPv4 or IPv6 address; `format` checks the address, which the pattern only outlines. */
export const hostName = Type.String({
  pattern: `^(?:(?:${dnsLabel}\\.)*${dnsLabel}|${ipv4}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$`,
  maxLength: 255,
  format: 'host',
  description: 'DNS name or IP address.',
});

/** A `delete` parameter: names of properties to reset. */
export function deletable<V extends string[]>(names: readonly [...V]): TArray<TEnum<V>> {
  return Type.Array(Type.Enum<V>(names), { description: 'Properties to delete.' });
}

// --- property strings ----------------------------------------------------------

function shortType(schema: TSchema): string {
  if ('enum' in schema) return '<enum>';
  if ('type' in schema && schema.type === 'boolean') return '<1|0>';
  return 'type' in schema && typeof schema.type === 'string' ? `<${schema.type}>` : '<string>';
}

/** `[type=<enum> [,message=<string>]]` as the reference's usage texts have it: required keys first, then by name. */
export function propertyStringTypeText(object: TObject): string {
  const required = new Set(object.required ?? []);
  const names = Object.keys(object.properties).sort((a, b) => Number(required.has(b)) - Number(required.has(a)) || (a < b ? -1 : 1));
  const pieces = names.map((name, i) => {
    const piece = `${i === 0 ? '' : ','}${name}=${shortType(object.properties[name]!)}`;
    return required.has(name) ? piece : `[${piece}]`;
  });
  return `[${pieces.join(' ')}]`;
}

/** A string that spells `object` as `key=value,...` (spec rest-api 2, Property string). */
export function propertyString(object: TObject, options: { description: string; defaultKey?: string; typetext?: string }): TString {
  const { defaultKey, ...rest } = options;
  return Type.String({
    maxLength: 65_536,
    typetext: propertyStringTypeText(object),
    ...rest,
    propertyString: object,
    ...(defaultKey === undefined ? {} : { defaultKey }),
  });
}
