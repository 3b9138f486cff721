import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, errorCode } from '../base/errors.ts';
import { createFileOnce, replaceFile, type FileRights } from '../config/atomic-file.ts';
import { secretPlace, sharedPlace } from '../config/files.ts';
import type { InstallationPaths } from '../config/home.ts';
import { withFileLock } from '../config/file-lock.ts';
import { csrfKeyFrom } from './csrf.ts';
import { ticketSigningKey, ticketVerifyKey } from './ticket.ts';

/** The keys that tickets and CSRF tokens are made with (spec rest-api 5.2, 5.3). */
export interface ServerKeys {
  readonly ticketSigningKey: KeyObject;
  readonly ticketVerifyKey: KeyObject;
  readonly csrfKey: Uint8Array;
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw new ConfigError('config.read', `unable to read "${path}"`, { cause: e });
  }
}

/** Runs a key parser; the cause of its failure is kept, the key's text is in no message. */
function parseKey<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (e) {
    throw new ConfigError('config.key', `"${path}" is not a key that tickets can be made with`, { cause: e, hint: `move ${path} away and start again: a new one is made, and everybody has to log in again` });
  }
}

function publicPem(key: KeyObject): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' });
}

/** Loads `authkey.key`, `authkey.pub` and `csrf.key`; makes what is missing, with the reference's formats and modes. */
export async function loadServerKeys(paths: InstallationPaths): Promise<ServerKeys> {
  const privatePath = join(paths.config, 'authkey.key');
  const publicPath = join(paths.config, 'authkey.pub');
  const csrfPath = join(paths.config, 'csrf.key');
  const shared: FileRights = sharedPlace(paths, 'node.cfg').rights;
  const { lockRights, rights: secret } = secretPlace(paths, 'authkey');

  return withFileLock(join(paths.config, '.authkey.lck'), { timeoutMs: 10_000, rights: lockRights }, async () => {
    let privateText = (await readIfThere(privatePath))?.toString('utf8');
    let publicText = (await readIfThere(publicPath))?.toString('utf8');
    if (privateText === undefined) {
      const { privateKey } = generateKeyPairSync('ed25519');
      privateText = privateKey.export({ type: 'pkcs8', format: 'pem' });
      publicText = publicPem(privateKey);
      await replaceFile(privatePath, Buffer.from(privateText), secret);
      await replaceFile(publicPath, Buffer.from(publicText), shared);
    }
    const signing = parseKey(privatePath, () => ticketSigningKey(privateText));
    if (publicText === undefined) {
      publicText = publicPem(signing);
      await replaceFile(publicPath, Buffer.from(publicText), shared);
    }
    const verifying = parseKey(publicPath, () => ticketVerifyKey(publicText));
    if (publicPem(createPrivateKey(privateText)) !== verifying.export({ type: 'spki', format: 'pem' })) {
      throw new ConfigError('config.key', `"${publicPath}" does not belong to "${privatePath}"`, { hint: `remove ${publicPath} and start again` });
    }
    let csrf = await readIfThere(csrfPath);
    if (csrf === null) {
      csrf = Buffer.from(randomBytes(64).toString('base64').replaceAll('=', ''));
      await createFileOnce(csrfPath, csrf, paths.serviceUser === null ? { mode: 0o600, owner: null } : shared);
    }
    const csrfKey = csrfKeyFrom(csrf);
    if (csrfKey.length < 16) throw new ConfigError('config.key', `"${csrfPath}" is too short`, { hint: `remove ${csrfPath} and start again` });
    return { ticketSigningKey: signing, ticketVerifyKey: verifying, csrfKey };
  });
}
