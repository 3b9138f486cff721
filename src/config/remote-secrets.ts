import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, errorCode } from '../base/errors.ts';
import { createFileOnce } from './atomic-file.ts';
import { secretPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';
import type { SettingsFile } from './farshore-config.ts';

/**
 * Secrets of remotes at rest. The reference stores them readable (base64); here they are sealed with a key of this
 * server, so that a copied remote.cfg (a backup of /etc, a support bundle) gives nothing away. A sealed value is
 * `farshore1:` and the base64url of nonce (12), ciphertext and tag (16) of AES-256-GCM; the remote's name is
 * authenticated with it, so that a value cannot be moved to a remote with another host. The colon is in no base64 text.
 */
const sealedPrefix = 'farshore1:';
const keyName = 'remote-secret.key';
const keyLength = 32;
const nonceLength = 12;
const tagLength = 16;

const keyHint = (name: string): string => `enter the password of remote '${name}' again: farshore remote update ${name} --password ...`;

export class RemoteSecrets {
  readonly #paths: InstallationPaths;
  readonly #settings: SettingsFile;
  #key: Buffer | null = null;

  constructor(paths: InstallationPaths, settings: SettingsFile) {
    this.#paths = paths;
    this.#settings = settings;
  }

  /** Text for the `password` property of remote `name`. Plain base64 when the settings say that a reference server shares the file. */
  async seal(name: string, secret: string): Promise<string> {
    if (this.#settings.load().value['plain-remote-secrets'] === true) return Buffer.from(secret, 'utf8').toString('base64');
    const nonce = randomBytes(nonceLength);
    const cipher = createCipheriv('aes-256-gcm', await this.#keyOrNew(), nonce, { authTagLength: tagLength });
    cipher.setAAD(Buffer.from(name, 'utf8'));
    const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    return sealedPrefix + Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url');
  }

  /** The secret behind a stored text, sealed or base64. ConfigError `config.remote-secret` when it cannot be had. */
  open(name: string, stored: string): string {
    if (stored.startsWith(sealedPrefix)) return this.#unseal(name, stored.slice(sealedPrefix.length));
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(stored)) throw new ConfigError('config.remote-secret', `the stored password of remote '${name}' is neither sealed nor base64`, { hint: keyHint(name) });
    return Buffer.from(stored, 'base64').toString('utf8');
  }

  /** True when a stored text is not in the form in which it would be written now. */
  needsRewrite(stored: string): boolean {
    return stored.startsWith(sealedPrefix) === (this.#settings.load().value['plain-remote-secrets'] === true);
  }

  #unseal(name: string, text: string): string {
    const key = this.#loadKey();
    if (key === null) {
      throw new ConfigError('config.remote-secret', `the password of remote '${name}' is sealed, but its key ${this.#keyPath()} is missing`, { hint: keyHint(name) });
    }
    const bytes = Buffer.from(text, 'base64url');
    try {
      if (bytes.length < nonceLength + tagLength) throw new ConfigError('config.remote-secret', 'too short');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceLength), { authTagLength: tagLength });
      decipher.setAAD(Buffer.from(name, 'utf8'));
      decipher.setAuthTag(bytes.subarray(-tagLength));
      return Buffer.concat([decipher.update(bytes.subarray(nonceLength, -tagLength)), decipher.final()]).toString('utf8');
    } catch (e) {
      throw new ConfigError('config.remote-secret', `the password of remote '${name}' was not sealed for it with the key of this server`, { cause: e, hint: keyHint(name) });
    }
  }

  #keyPath(): string {
    return join(this.#paths.config, keyName);
  }

  #loadKey(): Buffer | null {
    if (this.#key !== null) return this.#key;
    let text: string;
    try {
      text = readFileSync(this.#keyPath(), 'utf8');
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return null;
      throw new ConfigError('config.remote-secret', `unable to read ${this.#keyPath()}`, { cause: e });
    }
    const key = Buffer.from(text.trim(), 'base64url');
    if (key.length !== keyLength) throw new ConfigError('config.remote-secret', `${this.#keyPath()} is not a key`);
    this.#key = key;
    return key;
  }

  async #keyOrNew(): Promise<Buffer> {
    const present = this.#loadKey();
    if (present !== null) return present;
    // When another process was faster its key counts.
    await createFileOnce(this.#keyPath(), Buffer.from(`${randomBytes(keyLength).toString('base64url')}\n`), secretPlace(this.#paths, keyName).rights);
    const key = this.#loadKey();
    if (key === null) throw new ConfigError('config.remote-secret', `${this.#keyPath()} is gone again`);
    return key;
  }
}
