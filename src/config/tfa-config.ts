import { ConfigError } from '../base/errors.ts';
import { ConfigFile, type Codec } from './config-file.ts';
import { secretPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';

/** tfa.json (spec rest-api 6.2). Only what logins need is typed; everything else is kept as it is. */

export interface TotpEntry {
  id: string;
  enable?: boolean;
  description?: string;
  created?: number;
  /** `otpauth://totp/...`, or that with the last time step that was used. */
  entry: string | { totp: string; 'last-count'?: number };
}

export interface RecoveryKeys {
  secret: string;
  /** HMAC of each key in hex; null when it was used. */
  entries: Array<string | null>;
  created?: number;
}

export interface UserFactors {
  totp?: TotpEntry[];
  recovery?: RecoveryKeys | null;
  webauthn?: Array<{ enable?: boolean }>;
  u2f?: Array<{ enable?: boolean }>;
  yubico?: Array<{ enable?: boolean }>;
  'totp-locked'?: boolean;
  'tfa-locked-until'?: number;
}

export interface TfaContent {
  users: Record<string, UserFactors>;
  [setting: string]: unknown;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasShape(user: unknown): user is UserFactors {
  if (!isObject(user)) return false;
  const lists = ['totp', 'webauthn', 'u2f', 'yubico'].every((name) => user[name] === undefined || (Array.isArray(user[name]) && user[name].every(isObject)));
  const { recovery } = user;
  return lists && (recovery === undefined || recovery === null || (isObject(recovery) && typeof recovery['secret'] === 'string' && Array.isArray(recovery['entries'])));
}

const tfaCodec: Codec<TfaContent> = {
  parse(text, fileName) {
    if (text.trim() === '') return { users: {} };
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      // Without the cause: its message quotes the text, and that is secret.
      throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not valid JSON`);
    }
    const users = isObject(json) ? (json['users'] ?? {}) : null;
    // Fails as a whole: a user whose factors are not understood must not log in without them.
    if (!isObject(json) || !isObject(users) || !Object.values(users).every(hasShape)) throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not what it should be`);
    return { ...json, users: users as Record<string, UserFactors> };
  },
  serialize: (content) => JSON.stringify(content),
  clone: (content) => structuredClone(content),
};

export type TfaFile = ConfigFile<TfaContent>;

export function tfaFile(paths: InstallationPaths): TfaFile {
  return new ConfigFile(secretPlace(paths, 'tfa.json'), tfaCodec);
}
