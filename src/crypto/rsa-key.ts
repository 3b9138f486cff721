import { constants, createPrivateKey, createPublicKey, generateKeyPair, privateDecrypt, publicEncrypt, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError } from '../base/errors.ts';
import { createKeyFile, loadKey, parseKeyFile, serializeKeyFile, type KeyFile } from './key-file.ts';

/** The master key (spec formats 6.2). */
const modulusLength = 4096;
/** PKCS#1 v1.5 padding. */
const paddingLength = 11;
/** 16384 bits: nothing larger is taken from a file. */
const maxModulusBytes = 2048;

const generateKeyPairAsync = promisify(generateKeyPair);

function fail(why: string, cause?: unknown): never {
  throw new FormatError('format.master-key', why, { cause });
}

function rsaBytes(key: KeyObject): number {
  const bits = key.asymmetricKeyType === 'rsa' ? key.asymmetricKeyDetails?.modulusLength : undefined;
  return bits !== undefined && bits <= maxModulusBytes * 8 ? Math.ceil(bits / 8) : fail('the master key is not an RSA key');
}

function loadPem(make: () => KeyObject, what: string): KeyObject {
  try {
    return make();
  } catch (e) {
    return fail(`unable to read the ${what}`, e);
  }
}

/** New RSA-4096 pair: SubjectPublicKeyInfo PEM, and PKCS#8 PEM encrypted with AES-256-CBC. */
export async function createMasterKey(passphrase: string): Promise<{ publicPem: string; privatePem: string }> {
  const { publicKey, privateKey } = await generateKeyPairAsync('rsa', { modulusLength });
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }),
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }),
  };
}

/**
 * Content of `rsa-encrypted.key.blob`: the raw key as an unprotected key file, encrypted for the holder of the master key; as long as its modulus
 * (512 bytes). `created` is that of the original key file. FormatError `format.master-key` for a key that is no RSA key or too small.
 */
export async function encryptKeyForMaster(publicPem: string, key: Uint8Array, times: { created: string; now: number; offsetMinutes?: number }): Promise<Buffer> {
  const master = loadPem(() => createPublicKey(publicPem), 'public master key');
  const file = await createKeyFile(key, { kdf: 'none', ...times });
  const text = Buffer.from(serializeKeyFile(file), 'utf8');
  const room = rsaBytes(master) - paddingLength;
  if (text.byteLength > room) fail(`the master key is too small: it can encrypt ${room} bytes, ${text.byteLength} are needed`);
  return publicEncrypt({ key: master, padding: constants.RSA_PKCS1_PADDING }, text);
}

/**
 * Opposite of `encryptKeyForMaster`. With a wrong private key the padding check does not fail: OpenSSL hands out random bytes instead of an error
 * (implicit rejection), so only the content tells: it must parse, and the key must have the fingerprint beside it. FormatError `format.master-key`.
 */
export async function decryptKeyWithMaster(privatePem: string, passphrase: string | undefined, encrypted: Uint8Array): Promise<{ key: Buffer; file: KeyFile }> {
  const master = loadPem(() => createPrivateKey({ key: privatePem, ...(passphrase === undefined ? {} : { passphrase }) }), 'private master key (wrong passphrase?)');
  const length = rsaBytes(master);
  if (encrypted.byteLength !== length) fail(`the encrypted key has ${encrypted.byteLength} bytes, this master key needs ${length}`);
  try {
    const text = privateDecrypt({ key: master, padding: constants.RSA_PKCS1_PADDING }, encrypted);
    const file = parseKeyFile(text);
    if (file.kdf !== null) throw new FormatError('format.key-file', 'the encrypted key is protected by a passphrase');
    return { key: await loadKey(file, () => ''), file };
  } catch (e) {
    return fail('unable to decrypt the key: it was encrypted for another master key or is damaged', e);
  }
}
