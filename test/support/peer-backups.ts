import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileOwner } from '../../src/datastore/file-owner.ts';
import { fixturePath, goldenFiles, goldenPassphrase } from './golden.ts';
import type { ClientTarget, Peer } from './peer.ts';
import { changedImage, changeRandomTree, describeTree, randomImage, writeRandomTree } from './random-tree.ts';

/** A snapshot that the reference's client made, and what is in it. */
export interface MadeSnapshot {
  namespace: string;
  /** `host/plain/2025-10-09T08:53:20Z`. */
  snapshot: string;
  keyFile: string | null;
  /** Archive as named to `restore`, with its tree (`describeTree`) or bytes. */
  archives: Array<{ name: string; tree?: string[]; bytes?: Buffer }>;
}

export interface MadeBackups {
  /** An administrator of the server. */
  admin: ClientTarget;
  snapshots: MadeSnapshot[];
}

/** Name and password of the administrator that `makeBackups` makes. */
export const adminAccount = { authId: 'op@pbs', password: 'operator-1' };

/** Environment in which the client opens the golden keys. */
export const keyEnvironment: Record<string, string> = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };

/** The administrator of a server with nothing configured. */
export async function makeAdmin(peer: Peer, store: string): Promise<ClientTarget> {
  await peer.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await peer.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  return peer.target(adminAccount.authId, adminAccount.password, store);
}

/** An API token of `userName` that can read the datastore and do nothing else; its secret. */
export async function makeReaderToken(peer: Peer, store: string, userName: string, tokenName: string): Promise<string> {
  await peer.manager('user', 'create', userName);
  const answer = await peer.manager('user', 'generate-token', userName, tokenName);
  for (const authId of [userName, `${userName}!${tokenName}`]) await peer.manager('acl', 'update', `/datastore/${store}`, 'DatastoreReader', '--auth-id', authId);
  return (JSON.parse(answer.slice(answer.indexOf('{'))) as { value: string }).value;
}

/** Makes the datastore `main` on `peer` and fills it with its client. Sources are made in the empty folder `work`. */
export async function makeBackups(peer: Peer, work: string, seed: number): Promise<MadeBackups> {
  await peer.manager('datastore', 'create', 'main', '/data/main');
  const admin = await makeAdmin(peer, 'main');
  return { admin, snapshots: await backUpEverything(peer, admin, work, seed) };
}

/**
 * Backs up with the reference's client to an empty datastore of any server, one of everything that a snapshot can be (spec client-cli 4). `admin` may do all.
 * Sources are made in the empty folder `work`.
 */
export async function backUpEverything(peer: Peer, admin: ClientTarget, work: string, seed: number): Promise<MadeSnapshot[]> {
  for (const namespace of ['a', 'a/b']) await peer.client(admin, ['namespace', 'create', namespace]);
  const maker = new BackupMaker(peer, admin);

  const tree = join(work, 'tree');
  const otherTree = join(work, 'other');
  for (const folder of [tree, otherTree]) await mkdir(folder);
  writeRandomTree(tree, seed);
  writeRandomTree(otherTree, seed + 1, { size: 2 * 1024 * 1024, files: 30 });
  const settings = Buffer.from('cores: 2\nmemory: 2048\n');
  await writeFile(join(work, 'qemu.conf'), settings);
  const image = randomImage(seed, 6, 512 * 1024);
  await writeFile(join(work, 'disk'), image);

  const split = { tree: otherTree, options: ['--change-detection-mode', 'data'] };
  await maker.backUp('', 'plain', 1_760_000_000, { tree });
  await maker.backUp('', 'split', 1_760_000_100, split);
  await maker.backUp('', 'signed', 1_760_000_200, { tree: otherTree, key: 'kdf-none', options: ['--crypt-mode', 'sign-only'] });
  await maker.backUp('', 'crypt', 1_760_000_300, { tree: otherTree, key: 'kdf-scrypt', image: { path: join(work, 'disk'), bytes: image } });
  await maker.backUp('a', '100', 1_760_000_400, { type: 'vm', image: { path: join(work, 'disk'), bytes: image }, settings: { path: join(work, 'qemu.conf'), bytes: settings } });
  await maker.backUp('a/b', 'deep', 1_760_000_500, { tree: otherTree });

  changeRandomTree(tree, seed);
  changeRandomTree(otherTree, seed);
  const changed = changedImage(image, seed);
  await writeFile(join(work, 'disk'), changed);
  await maker.backUp('', 'plain', 1_760_086_400, { tree });
  await maker.backUp('', 'split', 1_760_086_500, { tree: otherTree, options: ['--change-detection-mode', 'metadata'] });
  await maker.backUp('', 'crypt', 1_760_086_700, { tree: otherTree, key: 'kdf-scrypt', image: { path: join(work, 'disk'), bytes: changed } });
  await maker.backUp('a', '100', 1_760_086_800, { type: 'vm', image: { path: join(work, 'disk'), bytes: changed }, settings: { path: join(work, 'qemu.conf'), bytes: settings } });

  const first = maker.made[0]!.snapshot;
  await writeFile(join(work, 'backup.log'), 'all went well\n');
  await peer.client(admin, ['snapshot', 'upload-log', first, join(work, 'backup.log')]);
  await peer.client(admin, ['snapshot', 'notes', 'update', first, 'before the move\nkeep it']);
  await peer.client(admin, ['snapshot', 'protected', 'update', first, 'true']);
  return maker.made;
}

interface BackupWhat {
  type?: 'host' | 'vm' | 'ct';
  tree?: string;
  image?: { path: string; bytes: Buffer };
  settings?: { path: string; bytes: Buffer };
  /** A golden key file. */
  key?: string;
  options?: readonly string[];
}

class BackupMaker {
  readonly made: MadeSnapshot[] = [];
  readonly #peer: Peer;
  readonly #admin: ClientTarget;

  constructor(peer: Peer, admin: ClientTarget) {
    this.#peer = peer;
    this.#admin = admin;
  }

  async backUp(namespace: string, id: string, time: number, what: BackupWhat): Promise<void> {
    const specs: string[] = [];
    const archives: MadeSnapshot['archives'] = [];
    if (what.tree !== undefined) {
      specs.push(`root.pxar:${what.tree}`);
      archives.push({ name: 'root.pxar', tree: describeTree(what.tree) });
    }
    if (what.image !== undefined) {
      specs.push(`disk.img:${what.image.path}`);
      archives.push({ name: 'disk.img', bytes: what.image.bytes });
    }
    if (what.settings !== undefined) {
      specs.push(`qemu.conf:${what.settings.path}`);
      archives.push({ name: 'qemu.conf', bytes: what.settings.bytes });
    }
    const type = what.type ?? 'host';
    const keyFile = what.key === undefined ? null : fixturePath(`keys/${what.key}.key`);
    const argv = ['backup', ...specs, '--backup-type', type, '--backup-id', id, '--backup-time', String(time), ...(what.options ?? [])];
    if (namespace !== '') argv.push('--ns', namespace);
    if (keyFile !== null) argv.push('--keyfile', keyFile);
    await this.#peer.client(this.#admin, argv, { env: keyEnvironment });
    this.made.push({ namespace, snapshot: `${type}/${id}/${new Date(time * 1000).toISOString().replace('.000', '')}`, keyFile, archives });
  }
}

/** Restores every archive of the snapshots with the reference's client into `folder` (made anew), and says what differs from what was backed up. */
export async function restoredDifferences(peer: Peer, target: ClientTarget, snapshots: readonly MadeSnapshot[], folder: string): Promise<string[]> {
  const differences: string[] = [];
  await mkdir(folder);
  for (const { namespace, snapshot, keyFile, archives } of snapshots) {
    for (const { name, tree, bytes } of archives) {
      const to = join(folder, 'restored');
      const argv = ['restore', snapshot, name, to];
      if (namespace !== '') argv.push('--ns', namespace);
      if (keyFile !== null) argv.push('--keyfile', keyFile);
      await peer.client(target, argv, { env: keyEnvironment });
      const label = `${namespace}:${snapshot} ${name}`;
      if (bytes !== undefined && !bytes.equals(await readFile(to))) differences.push(`${label}: other bytes`);
      if (tree !== undefined) {
        const restored = describeTree(to);
        const [missing, extra] = [new Set(tree).difference(new Set(restored)), new Set(restored).difference(new Set(tree))];
        for (const line of missing) differences.push(`${label}: - ${line}`);
        for (const line of extra) differences.push(`${label}: + ${line}`);
      }
      await rm(to, { recursive: true });
    }
  }
  return differences;
}

/** Writes the golden datastore's files into a datastore's folder, with the owners that a datastore has, but for those in `except`. */
export function writeGoldenFiles(base: string, except: readonly string[] = []): void {
  const owner = fileOwner();
  const give = (path: string): void => {
    if (owner !== null) chownSync(path, owner.uid, owner.gid);
  };
  for (const file of goldenFiles()) {
    if (except.includes(file.name)) continue;
    const path = join(base, file.name);
    const made = mkdirSync(dirname(path), { recursive: true });
    if (made !== undefined) for (let at = dirname(path); at.length >= made.length; at = dirname(at)) give(at);
    writeFileSync(path, file.content);
    chmodSync(path, file.mode);
    give(path);
  }
}
