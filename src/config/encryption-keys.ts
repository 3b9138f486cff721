import { chmod, chown, mkdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { bytesEqual } from '../base/bytes.ts';
import { ConfigError, FormatError, errorCode, toError } from '../base/errors.ts';
import { CryptConfig, formatFingerprint, parseFingerprint, shortFingerprint } from '../crypto/crypt-config.ts';
import { createKeyFile, generateKey, loadKey, parseKeyFile, serializeKeyFile, type KeyFile } from '../crypto/key-file.ts';
import { parseRfc3339 } from '../crypto/rfc3339.ts';
import { createFileOnce, syncFolder, type FileRights } from './atomic-file.ts';
import { withFileLock } from './file-lock.ts';
import { serviceLockRights, sectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { missingSection } from './missing-section.ts';
import { encryptionKeyId, fingerprint, oneOf, wholeNumber } from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** encryption-keys.cfg and the keys themselves, `encryption-keys/{id}.enc` (spec sync 2.5). */

const { Optional } = Type;

export const encryptionKeySchema = Type.Object({
  id: encryptionKeyId,
  'archived-at': Optional(wholeNumber('When the key was archived (seconds since the epoch): since then it only decrypts.')),
  created: wholeNumber('When the key was made (seconds since the epoch).'),
  fingerprint: Optional({ ...fingerprint, description: 'Fingerprint of the key.' }),
  hint: Optional(Type.String({ description: 'Password hint.' })),
  kdf: oneOf(['none', 'scrypt', 'pbkdf2'], 'How the password becomes a key.', { default: 'scrypt' }),
  modified: wholeNumber('When the key file was written (seconds since the epoch).'),
  path: Optional(Type.String({ description: 'Where the key file is.' })),
});
/** What may be shown of a key: everything but the key. */
export type EncryptionKeyInfo = Static<typeof encryptionKeySchema>;
export const encryptionKeyType = sectionType('sync-key', 'id', encryptionKeySchema);

const folderName = 'encryption-keys';
const lockWaitMs = 10_000;

/** The keys that this server holds for sync jobs. They are stored readable: who can read the folder can read the backups. */
export class EncryptionKeys {
  readonly table: SectionTable<typeof encryptionKeySchema>;
  readonly #folder: string;
  readonly #folderRights: FileRights;
  readonly #fileRights: FileRights;
  readonly #lockRights: FileRights;

  constructor(paths: InstallationPaths) {
    const owner = paths.serviceUser === null ? null : { uid: 0, gid: paths.serviceUser.gid };
    this.table = new SectionTable(sectionFile(paths, 'encryption-keys.cfg', [encryptionKeyType]), encryptionKeyType);
    this.#folder = join(paths.config, folderName);
    // The reference's proxy reads the keys as its own user; where nobody else needs them they are closed.
    this.#folderRights = { mode: owner === null ? 0o700 : 0o750, owner };
    this.#fileRights = { mode: owner === null ? 0o600 : 0o640, owner };
    this.#lockRights = serviceLockRights(paths);
  }

  /** All keys, the archived ones too, in file order. */
  list(): { records: EncryptionKeyInfo[]; digest: string } {
    return this.table.list();
  }

  find(id: string): EncryptionKeyInfo | undefined {
    return this.table.find(id);
  }

  /**
   * Takes `given` (a key file without password) as key `id`, or makes a new one; the key file, a secret. ConfigError `config.exists`, `config.key`
   * in the reference's words. A key file that is there already is never overwritten.
   */
  async create(id: string, given: string | undefined, nowSeconds: number): Promise<OpenKeyFile> {
    const key = given === undefined ? withFingerprint(await createKeyFile(generateKey(), { kdf: 'none', now: nowSeconds })) : await readGivenKey(given);
    const path = this.#path(id);
    let written = false;
    try {
      await this.table.file.update(async (config) => {
        if (config.has(id)) throw new ConfigError('config.exists', `key with id '${id}' already exists.`);
        await this.#writeKey(path, key);
        written = true;
        config.set(encryptionKeyType, { id, created: parseRfc3339(key.created), fingerprint: formatFingerprint(key.fingerprint), kdf: 'none', modified: parseRfc3339(key.modified), path });
      });
    } catch (e) {
      if (written) await this.#removeKeyFile(id);
      throw e;
    }
    return key;
  }

  /** Archives a key, or makes it usable again. `refuse` is asked under the lock, only before archiving. */
  async toggleArchived(id: string, nowSeconds: number, options: { digest?: string | undefined; refuse: () => void }): Promise<void> {
    await this.table.update(
      id,
      (record) => {
        const { 'archived-at': archivedAt, ...rest } = record;
        if (archivedAt !== undefined) return rest;
        options.refuse();
        return { ...record, 'archived-at': nowSeconds };
      },
      options,
    );
  }

  /** Removes an archived key and its file for good; one that is not there is removed already. ConfigError `config.key` while it is not archived. */
  async remove(id: string, options: { digest?: string | undefined; refuse: () => void }): Promise<void> {
    await this.table.file.update(async (config) => {
      const record = config.find(encryptionKeyType, id);
      if (record === undefined) return;
      if (record['archived-at'] === undefined) throw new ConfigError('config.key', 'key still active, deleting is only possible for archived keys', { hint: `archive it first: farshore encryption-key archive ${id}` });
      options.refuse();
      config.remove(encryptionKeyType, id);
    }, options);
    // Not before the section is gone: a section without its key would fail every job that names it.
    await this.#removeKeyFile(id);
  }

  /**
   * The key itself. ConfigError `config.missing` without section, `config.key` when the file is not that key. `use` `encrypt` refuses archived keys.
   */
  async load(id: string, use: 'encrypt' | 'decrypt'): Promise<CryptConfig> {
    const info = this.table.find(id);
    if (info === undefined) throw missingSection(encryptionKeyType.type, id);
    if (use === 'encrypt' && info['archived-at'] !== undefined) {
      throw new ConfigError('config.key', `encryption key '${id}' is archived: it can only decrypt`, { hint: `make it usable again: farshore encryption-key archive ${id}` });
    }
    const path = this.#path(id);
    let file: KeyFile;
    try {
      file = parseKeyFile(await readFile(path));
      if (file.kdf !== null) throw new FormatError('format.key-file', 'it is protected by a password');
      const crypt = new CryptConfig(await loadKey(file, () => ''));
      if (info.fingerprint !== undefined && !bytesEqual(parseFingerprint(info.fingerprint), crypt.fingerprint)) {
        throw new FormatError('format.wrong-key', `it holds key ${shortFingerprint(crypt.fingerprint)} instead of ${shortFingerprint(parseFingerprint(info.fingerprint))}`);
      }
      return crypt;
    } catch (e) {
      throw new ConfigError('config.key', `unable to load encryption key '${id}' from "${path}"`, { cause: e, hint: 'put the key file back in its place from where you keep a copy' });
    }
  }

  #path(id: string): string {
    return join(this.#folder, `${id}.enc`);
  }

  async #writeKey(path: string, key: KeyFile): Promise<void> {
    await this.#makeFolder();
    const isFirst = await withFileLock(`${path}.lck`, { timeoutMs: lockWaitMs, rights: this.#lockRights }, () => createFileOnce(path, Buffer.from(serializeKeyFile(key)), this.#fileRights));
    if (!isFirst) throw new ConfigError('config.key', `key file "${path}" exists already`, { hint: 'it may hold a key that backups need: take the key of that file (encryption-key create --key), or move it away' });
  }

  async #makeFolder(): Promise<void> {
    try {
      await mkdir(this.#folder, { mode: 0o700 });
    } catch (e) {
      if (errorCode(e) === 'EEXIST') return;
      throw new ConfigError('config.write', `cannot make the folder "${this.#folder}"`, { cause: e });
    }
    const { owner, mode } = this.#folderRights;
    if (owner !== null) await chown(this.#folder, owner.uid, owner.gid);
    await chmod(this.#folder, mode);
  }

  async #removeKeyFile(id: string): Promise<void> {
    try {
      await unlink(this.#path(id));
      await syncFolder(this.#folder);
    } catch (e) {
      if (errorCode(e) !== 'ENOENT') throw new ConfigError('config.write', `cannot remove "${this.#path(id)}"`, { cause: e });
    }
  }
}

/** A key file without password, as it is stored here. A secret. */
export type OpenKeyFile = KeyFile & { kdf: null; fingerprint: Buffer };

function withFingerprint(file: KeyFile): OpenKeyFile {
  return { ...file, kdf: null, fingerprint: new CryptConfig(file.data).fingerprint };
}

/** A key file that somebody brought; a missing fingerprint is added. */
async function readGivenKey(text: string): Promise<OpenKeyFile> {
  let file: KeyFile;
  try {
    file = parseKeyFile(Buffer.from(text, 'utf8'));
  } catch (e) {
    throw new ConfigError('config.key', `failed to parse provided key: ${toError(e).message}`, { cause: e });
  }
  if (file.kdf !== null) throw new ConfigError('config.key', 'protected keys not supported');
  // Refuses a fingerprint that is another key's.
  await loadKey(file, () => '');
  return withFingerprint(file);
}
