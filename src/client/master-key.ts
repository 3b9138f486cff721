import { createPublicKey } from 'node:crypto';
import { ConfigError, toError } from '../base/errors.ts';

export const defaultMasterKeyName = 'master-public.pem';

/** What is shown of an RSA public key. */
export interface MasterKeyInfo {
  /** Hexadecimal, upper case. */
  modulus: string;
  /** Decimal. */
  exponent: string;
  /** Bits. */
  length: number;
}

/** Reads a public master key in PEM. ConfigError `config.master-key`. */
export function masterKeyInfo(pem: Uint8Array): MasterKeyInfo {
  try {
    const key = createPublicKey({ key: Buffer.from(pem), format: 'pem' });
    const { n, e } = key.export({ format: 'jwk' });
    if (key.asymmetricKeyType !== 'rsa' || n === undefined || e === undefined) throw new Error('it is no RSA key');
    const modulus = Buffer.from(n, 'base64url').toString('hex').toUpperCase();
    return { modulus, exponent: BigInt(`0x${Buffer.from(e, 'base64url').toString('hex')}`).toString(), length: key.asymmetricKeyDetails?.modulusLength ?? 0 };
  } catch (e) {
    throw new ConfigError('config.master-key', `Unable to decode PEM data - ${toError(e).message}`, { hint: 'a public master key is made with `key create-master-key`' });
  }
}

/** The lines that are logged of a key. */
export function masterKeyText({ modulus, exponent }: MasterKeyInfo): string {
  return `Modulus: ${modulus}\nExponent: ${exponent}\n`;
}
