import { Type, type Static } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { ConfigFile, type Codec } from './config-file.ts';
import { sharedPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { readScalar, recordProblem } from './schema-check.ts';
import { email, lineOfText, propertyString, wholeNumber } from './schemas.ts';

/** node.cfg (spec rest-api 9.11): `key: value` lines; the leading comment is the description, each of its lines with its line feed. */

const { Optional } = Type;

const acmeDomain = Optional(Type.String({ pattern: '^[^\\x00-\\x1f\\x7f]*$', maxLength: 4096, typetext: '[domain=<string> [,alias=<string>] [,plugin=<string>]]', description: 'ACME domain.' }));

const ciphers = (description: string) => Type.String({ pattern: '^[0-9A-Za-z_:, +!\\-@=.]+$', maxLength: 4096, description });

export const locationOptions = Type.Object({
  latitude: Optional(Type.Number({ minimum: -90, maximum: 90, description: 'Latitude.' })),
  longitude: Optional(Type.Number({ minimum: -180, maximum: 180, description: 'Longitude.' })),
  name: Optional(lineOfText('Name of the place.', { maxLength: 128 })),
});

export const nodeConfigSchema = Type.Object({
  acme: Optional(Type.String({ pattern: '^[^\\x00-\\x1f\\x7f]*$', maxLength: 4096, typetext: '[account=<string>]', description: 'ACME account.' })),
  acmedomain0: acmeDomain,
  acmedomain1: acmeDomain,
  acmedomain2: acmeDomain,
  acmedomain3: acmeDomain,
  acmedomain4: acmeDomain,
  'ciphers-tls-1.2': Optional(ciphers('Ciphers of TLS 1.2.')),
  'ciphers-tls-1.3': Optional(ciphers('Ciphers of TLS 1.3.')),
  'consent-text': Optional(lineOfText('Text shown before the login, escaped.', { maxLength: 65_536 })),
  'default-lang': Optional(lineOfText('Language of the web interface.', { maxLength: 32 })),
  description: Optional(Type.String({ maxLength: 65_536, description: 'Notes about this node, several lines.' })),
  'email-from': Optional(email),
  'http-proxy': Optional(Type.String({ pattern: '^(?:http://)?(?:[^\\s@/]+@)?[^\\s@/]+(?::[0-9]{1,5})?/?$', minLength: 1, maxLength: 128, typetext: '[http://]<host>[:port]', description: 'HTTP proxy for outgoing requests.' })),
  location: Optional(propertyString(locationOptions, { description: 'Where this node is.', typetext: '<string>' })),
  'task-log-max-days': Optional(wholeNumber('Days that task logs are kept.', { minimum: 0 })),
});
export type NodeConfig = Static<typeof nodeConfigSchema>;

/** The record and the comments that are not the description, which stay at the end. */
export interface NodeFileContent {
  record: NodeConfig;
  comments: string[];
}

const nodeCodec: Codec<NodeFileContent> = {
  parse(text, fileName) {
    const failed = (line: number, what: string): ConfigError => new ConfigError('config.syntax', `parsing "${fileName}" failed: line ${line} - ${what}`);
    const record: Record<string, unknown> = {};
    const description: string[] = [];
    const comments: string[] = [];
    let leading = true;
    for (const [i, line] of text.split('\n').entries()) {
      if (line.startsWith('#')) {
        if (leading) description.push(line.slice(1));
        else comments.push(line);
        continue;
      }
      if (line.trim() === '') continue;
      leading = false;
      const match = /^([A-Za-z0-9._-]+)\s*:(.*)$/.exec(line);
      if (match === null) throw failed(i + 1, 'expected key: value');
      const key = match[1]!;
      const schema = Object.hasOwn(nodeConfigSchema.properties, key) && key !== 'description' ? Object.entries(nodeConfigSchema.properties).find(([name]) => name === key)![1] : undefined;
      if (schema === undefined) throw failed(i + 1, `unknown property '${key}'`);
      if (Object.hasOwn(record, key)) throw failed(i + 1, `duplicate property '${key}'`);
      const read = readScalar(schema, match[2]!.trim());
      if ('problem' in read) throw failed(i + 1, `property '${key}': ${read.problem}`);
      record[key] = read.value;
    }
    if (description.length > 0) record['description'] = description.map((line) => `${line}\n`).join('');
    return { record: record, comments };
  },
  serialize({ record, comments }) {
    const problem = recordProblem(nodeConfigSchema, record);
    if (problem !== null) throw new ConfigError('config.value', `parameter verification failed - '${problem.name}': ${problem.problem}`);
    const { description, ...properties } = record;
    const lines = description === undefined || description === '' ? [] : description.replace(/\n$/, '').split('\n').map((line) => `#${line}`);
    for (const [key, value] of Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (value !== undefined && value !== null) lines.push(`${key}: ${String(value)}`);
    }
    // After a property, so that they do not become part of the description.
    if (lines.some((line) => !line.startsWith('#'))) lines.push(...comments);
    return lines.map((line) => `${line}\n`).join('');
  },
  clone: (content) => structuredClone(content),
};

export type NodeFile = ConfigFile<NodeFileContent>;

export function nodeFile(paths: InstallationPaths): NodeFile {
  return new ConfigFile(sharedPlace(paths, 'node.cfg'), nodeCodec);
}
