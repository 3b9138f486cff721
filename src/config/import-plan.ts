import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chown, open, readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError, errorCode, toError } from '../base/errors.ts';
import { makeFolders } from '../sys/make-folders.ts';
import { aclFile } from './acl-config.ts';
import { createFileOnce, type FileRights } from './atomic-file.ts';
import { decodeConfigText, lockOf } from './config-file.ts';
import { datastoreTable } from './datastore-config.ts';
import { domainFile, realmsOf } from './domain-config.ts';
import { EncryptionKeys } from './encryption-keys.ts';
import { settingsFile } from './farshore-config.ts';
import { withFileLock } from './file-lock.ts';
import { secretPlace, serviceLockRights, serviceSecretPlace, sharedPlace } from './files.ts';
import { freshnessTable } from './freshness-config.ts';
import type { InstallationPaths } from './home.ts';
import { pruneJobTable, syncJobTable, verifyJobTable } from './job-config.ts';
import { nodeFile } from './node-config.ts';
import { notificationFiles } from './notification-config.ts';
import { remoteTable } from './remote-config.ts';
import { shadowFile, tokenShadowFile } from './shadow-config.ts';
import { tfaFile } from './tfa-config.ts';
import { trafficRuleTable } from './traffic-config.ts';
import { userFile } from './user-config.ts';

/** Taking over the configuration folder of another server, the reference's or ours. The source is only read. */

export type ImportVerdict =
  /** Comes here byte for byte. */
  | 'take'
  /** Is here already with the same bytes. */
  | 'same'
  /** This server has its own, which stays. */
  | 'ours'
  /** Nothing here uses it. */
  | 'skip'
  /** Stands in the way of taking over anything. */
  | 'blocked';

export interface ImportEntry {
  /** Relative to the configuration folder. */
  file: string;
  verdict: ImportVerdict;
  /** What it holds, or why it does not come. */
  detail: string;
  /** SHA-256 in hex of what was looked at; null where nothing was read. */
  digest: string | null;
  rights: FileRights;
}

interface KnownFile {
  rights: (paths: InstallationPaths) => FileRights;
  /** Reads the file as this server would, and tells what is in it; throws when it cannot be used. */
  describe: (source: InstallationPaths) => string;
}

const shared = (paths: InstallationPaths): FileRights => sharedPlace(paths, 'x.cfg').rights;
const secret = (paths: InstallationPaths): FileRights => secretPlace(paths, 'x').rights;
/** Secrets that the reference's proxy reads as its own user; closed where nobody else needs them. */
const serviceSecret = (paths: InstallationPaths): FileRights => (paths.serviceUser === null ? { mode: 0o600, owner: null } : shared(paths));

function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function describeTfa(source: InstallationPaths): string {
  const users = Object.entries(tfaFile(source).load().value.users);
  const others = users.filter(([, { webauthn = [], u2f = [], yubico = [] }]) => webauthn.length + u2f.length + yubico.length > 0).map(([user]) => user);
  return `${counted(users.length, 'user')}${others.length === 0 ? '' : `; factors other than TOTP and recovery keys do not work here: ${others.join(', ')}`}`;
}

function describeRealms(source: InstallationPaths): string {
  const foreign = realmsOf(domainFile(source).load().value).filter(({ type }) => !['pbs', 'pam'].includes(type));
  return foreign.length === 0 ? 'realms' : `realms; kept, but nobody can log in with them here: ${foreign.map(({ realm, type }) => `${realm} (${type})`).join(', ')}`;
}

/** In the order in which they come: accounts before what names them, jobs last. */
const knownFiles: Readonly<Record<string, KnownFile>> = {
  'domains.cfg': { rights: shared, describe: describeRealms },
  'user.cfg': { rights: shared, describe: (source) => (userFile(source).load(), 'users and tokens') },
  'shadow.json': { rights: secret, describe: (source) => counted(shadowFile(source).load().value.size, 'password') },
  'token.shadow': { rights: (paths) => serviceSecretPlace(paths, 'token.shadow').rights, describe: (source) => counted(tokenShadowFile(source).load().value.size, 'token secret') },
  'tfa.json': { rights: secret, describe: describeTfa },
  'acl.cfg': { rights: shared, describe: (source) => (aclFile(source).load(), 'permissions') },
  'node.cfg': { rights: shared, describe: (source) => (nodeFile(source).load(), 'settings of the server') },
  'notifications.cfg': { rights: shared, describe: (source) => (notificationFiles(source).config.load(), 'notification targets and matchers') },
  'notifications-priv.cfg': { rights: secret, describe: (source) => (notificationFiles(source).secrets.load(), 'secrets of notification targets') },
  'traffic-control.cfg': { rights: shared, describe: (source) => counted(trafficRuleTable(source).list().records.length, 'rule') },
  'encryption-keys.cfg': { rights: shared, describe: (source) => counted(new EncryptionKeys(source).table.list().records.length, 'key') },
  'farshore.json': { rights: secret, describe: (source) => (settingsFile(source).load(), 'settings that the reference does not have') },
  'freshness.cfg': { rights: secret, describe: (source) => counted(freshnessTable(source).list().records.length, 'contract') },
  'remote-secret.key': { rights: secret, describe: () => 'key of the passwords in remote.cfg' },
  'datastore.cfg': { rights: shared, describe: (source) => counted(datastoreTable(source).list().records.length, 'datastore') },
  'remote.cfg': { rights: shared, describe: (source) => counted(remoteTable(source).list().records.length, 'remote') },
  'verification.cfg': { rights: shared, describe: (source) => counted(verifyJobTable(source).list().records.length, 'verify job') },
  'prune.cfg': { rights: shared, describe: (source) => counted(pruneJobTable(source).list().records.length, 'prune job') },
  'sync.cfg': { rights: shared, describe: (source) => counted(syncJobTable(source).list().records.length, 'sync job') },
};

/** Pairs that belong together: both come, or this server's stay. */
const keyPairs: ReadonlyArray<{ files: readonly string[]; what: string; rights: (paths: InstallationPaths, name: string) => FileRights }> = [
  { files: ['authkey.key', 'authkey.pub'], what: 'key of tickets', rights: (paths, name) => (name.endsWith('.pub') ? shared(paths) : secret(paths)) },
  { files: ['csrf.key'], what: 'key of form tokens', rights: shared },
  { files: ['proxy.key', 'proxy.pem'], what: 'certificate: peers keep their fingerprint', rights: serviceSecret },
];

/** Folders whose files come as they are. */
const knownFolders: ReadonlyArray<{ folder: string; what: string; rights: (paths: InstallationPaths) => FileRights }> = [
  { folder: 'encryption-keys', what: 'encryption key', rights: serviceSecret },
  { folder: join('notification-templates', 'default'), what: 'template of notifications', rights: shared },
];

const reasons: ReadonlyArray<readonly [pattern: RegExp, reason: string]> = [
  [/^(?:tape|drive|changer|media-pool)/, 'tape is not supported'],
  [/^(?:metricserver|influx)/, 'pushing of metrics is not supported'],
  [/^(?:s3|.*s3.*\.cfg$)/, 'S3 is not supported'],
  [/^acme/, 'ACME is not supported: install a certificate that another program renews'],
  [/^ldap_passwords/, 'logins with LDAP and AD are not supported'],
  [/^subscription/, 'there are no subscriptions'],
];

function isLockOrTemporary(name: string): boolean {
  return /\.(?:lck|lock)$/.test(name) || name.includes('.tmp_');
}

const maxLength = 16 * 1024 * 1024;

/** Content of a regular file; null when it is missing. ConfigError for anything else and for links, which could lead out of the folder. */
async function readRegular(path: string): Promise<Buffer | null> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw new ConfigError('config.import', `unable to read "${path}"`, { cause: e });
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new ConfigError('config.import', `"${path}" is not a file`);
    if (stats.size > maxLength) throw new ConfigError('config.import', `"${path}" is longer than ${maxLength} bytes`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return [];
    throw new ConfigError('config.import', `unable to read the folder "${folder}"`, { cause: e, hint: 'name the configuration folder of the other server, e.g. /etc/proxmox-backup, and run this as a user who may read it' });
  }
}

/** Looks at one configuration folder for another's sake. */
class ImportSurvey {
  readonly entries: ImportEntry[] = [];
  readonly #source: InstallationPaths;
  readonly #target: InstallationPaths;

  constructor(source: string, target: InstallationPaths) {
    this.#source = { ...target, config: source, serviceUser: null };
    this.#target = target;
  }

  async survey(): Promise<void> {
    const names = await namesIn(this.#source.config);
    for (const [name, known] of Object.entries(knownFiles)) {
      if (names.includes(name)) await this.#content(name, known.rights(this.#target), () => known.describe(this.#source));
    }
    for (const pair of keyPairs) await this.#pair(pair, names);
    for (const { folder, what, rights } of knownFolders) {
      const inside = await namesIn(join(this.#source.config, folder));
      for (const name of inside.filter((one) => !isLockOrTemporary(one))) await this.#content(join(folder, name), rights(this.#target), () => what);
    }
    this.#rest(names);
  }

  #add(file: string, verdict: ImportVerdict, detail: string, digest: string | null = null, rights: FileRights = secret(this.#target)): void {
    this.entries.push({ file, verdict, detail, digest, rights });
  }

  async #content(file: string, rights: FileRights, describe: () => string): Promise<void> {
    try {
      const bytes = await readRegular(join(this.#source.config, file));
      if (bytes === null) return;
      if (/\.(?:cfg|json|shadow)$/.test(file)) decodeConfigText(bytes, file);
      const present = await readRegular(join(this.#target.config, file));
      const detail = describe();
      if (present === null) this.#add(file, 'take', detail, digestOf(bytes), rights);
      else if (present.equals(bytes)) this.#add(file, 'same', detail, digestOf(bytes), rights);
      else this.#add(file, 'blocked', 'this server has one with other content');
    } catch (e) {
      const { message, cause } = toError(e);
      this.#add(file, 'blocked', cause === undefined ? message : `${message}: ${toError(cause).message}`);
    }
  }

  async #pair({ files, what, rights }: (typeof keyPairs)[number], names: readonly string[]): Promise<void> {
    if (!files.some((name) => names.includes(name))) return;
    if (!files.every((name) => names.includes(name))) {
      for (const name of files.filter((one) => names.includes(one))) this.#add(name, 'skip', `${files.find((one) => !names.includes(one))} is missing`);
      return;
    }
    const here = await namesIn(this.#target.config);
    for (const name of files) {
      if (files.some((one) => here.includes(one))) this.#add(name, 'ours', `${what}: this server's stays`);
      else await this.#content(name, rights(this.#target, name), () => what);
    }
  }

  #rest(names: readonly string[]): void {
    const seen = new Set(this.entries.map(({ file }) => file));
    const folders = new Set(knownFolders.map(({ folder }) => folder.split('/')[0]));
    for (const name of names) {
      if (seen.has(name) || folders.has(name) || isLockOrTemporary(name)) continue;
      this.#add(name, 'skip', reasons.find(([pattern]) => pattern.test(name))?.[1] ?? 'not known here');
    }
  }
}

/** What of the configuration folder `source` would come into the installation `target`, and what not. Changes nothing. */
export async function planImport(source: string, target: InstallationPaths): Promise<ImportEntry[]> {
  const names = await namesIn(source);
  if (!names.some((name) => Object.hasOwn(knownFiles, name))) {
    throw new ConfigError('config.import', `"${source}" is no configuration folder of a backup server`, { hint: 'name the folder that has datastore.cfg and user.cfg in it, e.g. /etc/proxmox-backup' });
  }
  const folder = await realpath(source);
  const own = await realpath(target.config).catch(() => target.config);
  if (folder === own) throw new ConfigError('config.import', `"${source}" is the configuration folder of this installation`, { hint: 'nothing needs to be taken over; set FARSHORE_HOME where another installation is meant' });
  const survey = new ImportSurvey(folder, target);
  await survey.survey();
  return survey.entries;
}

function lockPath(paths: InstallationPaths, file: string): string {
  const path = join(paths.config, file);
  return dirname(file) === '.' && file.endsWith('.cfg') ? lockOf(path) : `${path}.lock`;
}

async function makeFolderFor(path: string, { config, serviceUser }: InstallationPaths): Promise<void> {
  const folder = dirname(path);
  if (folder === config || !(await makeFolders(folder, serviceUser === null ? 0o700 : 0o750))) return;
  if (serviceUser === null) return;
  for (let at = folder; at !== config; at = dirname(at)) await chown(at, 0, serviceUser.gid);
}

/**
 * Copies what `plan` says, each file whole, under its lock, and never over one that is there. ConfigError `config.import`
 * before anything is written when an entry is blocked, and where a file of the source has changed since or one came up here.
 */
export async function carryOutImport(source: string, target: InstallationPaths, plan: readonly ImportEntry[]): Promise<void> {
  const blocked = plan.filter(({ verdict }) => verdict === 'blocked');
  if (blocked.length > 0) {
    throw new ConfigError('config.import', `nothing was taken over: ${blocked.map(({ file, detail }) => `${file}: ${detail}`).join('; ')}`, {
      hint: 'permissions, accounts and jobs belong together, so all files come or none: import into a new installation (FARSHORE_HOME=...), or correct what is named',
    });
  }
  const taken = plan.filter(({ verdict }) => verdict === 'take');
  const contents: Array<[ImportEntry, Buffer]> = [];
  for (const entry of taken) {
    const bytes = await readRegular(join(source, entry.file));
    if (bytes === null || digestOf(bytes) !== entry.digest) throw new ConfigError('config.import', `nothing was taken over: ${entry.file} has changed meanwhile`, { hint: 'import again' });
    contents.push([entry, bytes]);
  }
  for (const [entry, bytes] of contents) {
    const path = join(target.config, entry.file);
    await makeFolderFor(path, target);
    await withFileLock(lockPath(target, entry.file), { timeoutMs: 10_000, rights: serviceLockRights(target) }, async () => {
      if (!(await createFileOnce(path, bytes, entry.rights))) throw new ConfigError('config.import', `"${path}" was made meanwhile; files before it in the list were taken over`, { hint: 'import again when nobody else changes this installation' });
    });
  }
}
