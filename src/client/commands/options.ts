import { Type, type TSchema } from 'typebox';
import { oneOf, safeIdPattern, wholeNumber } from '../../config/schemas.ts';
import { parseHumanByte } from '../../format/human-byte.ts';
import type { Properties } from '../../terminal/command-parameters.ts';
import { authIdPattern, hostPattern, repositoryPattern } from '../repository.ts';

/** Options that several commands share (spec client-cli 2.2, 3), with the reference's descriptions. */

export const repositoryOptions: Properties = {
  'auth-id': Type.String({ pattern: `^${authIdPattern}$`, minLength: 3, maxLength: 64, description: 'Authentication ID' }),
  datastore: Type.String({ pattern: `^${safeIdPattern}$`, minLength: 3, maxLength: 32, description: 'Datastore name.' }),
  port: wholeNumber('Backup server port. Default: 8007', { minimum: 1, maximum: 65_535, default: 8007 }),
  repository: Type.String({ pattern: repositoryPattern, maxLength: 256, description: 'Repository URL: [[auth-id@]server[:port]:]datastore' }),
  server: Type.String({ pattern: `^(?:${hostPattern}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$`, maxLength: 256, description: 'Backup server address (hostname or IP). Default: localhost' }),
};

const namespacePattern = `^(?:(?:${safeIdPattern}/){0,7}(?:${safeIdPattern}))?$`;

export const namespaceOption: Properties = {
  ns: Type.String({ pattern: namespacePattern, maxLength: 256, description: 'Namespace.' }),
};

/** Options of a command that works in a namespace. */
export const targetOptions: Properties = { ...repositoryOptions, ...namespaceOption };

export const keyOptions: Properties = {
  keyfd: wholeNumber('Pass an encryption key via an already opened file descriptor.', { minimum: 0 }),
  keyfile: Type.String({ description: 'Path to encryption key. All data will be encrypted using this key.' }),
};

export const cryptModeOption: Properties = {
  'crypt-mode': oneOf(['none', 'encrypt', 'sign-only'], 'Defines whether data is encrypted (using an AEAD cipher), only signed, or neither.', { default: 'encrypt' }),
};

function byteFault(text: string): string | null {
  try {
    parseHumanByte(text);
    return null;
  } catch {
    return `byte-size parse error for '${text}': invalid float literal`;
  }
}

function byteCount(description: string): TSchema {
  return Type.String({ minLength: 1, maxLength: 64, check: byteFault, description });
}

export const rateOptions: Properties = {
  burst: byteCount('Size of the token bucket (for Token bucket filter) in bytes with optional unit (B, KB (base 10), MB, GB, ..., KiB (base 2), MiB, Gib, ...).'),
  rate: byteCount('Rate limit (for Token bucket filter) in bytes/s with optional unit (B, KB (base 10), MB, GB, ..., KiB (base 2), MiB, Gib, ...).'),
};

export const upid = Type.String({
  minLength: 36,
  pattern:
    '^UPID:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8,16}:[0-9A-Fa-f]{8}:[^:\\s]+:[^:\\s]*:[^:\\s]+:$',
  description: 'Unique Process/Task Identifier',
});
