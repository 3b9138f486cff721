import { createHmac } from 'node:crypto';
import { FarshoreError } from '../base/errors.ts';
import { secretsEqual } from '../base/bytes.ts';

/** Time-based one-time passwords (RFC 6238) as `otpauth://totp/` addresses describe them. */
export interface Totp {
  secret: Buffer;
  algorithm: 'sha1' | 'sha256' | 'sha512';
  digits: number;
  /** Seconds. */
  period: number;
}

const base32Alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function decodeBase32(text: string): Buffer | null {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const letter of text.toUpperCase().replace(/=+$/, '')) {
    const index = base32Alphabet.indexOf(letter);
    if (index < 0) return null;
    value = ((value << 5) | index) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

/** Reads an `otpauth://totp/` address; FarshoreError `access.totp`, without the address, when it cannot be used. */
export function parseTotp(address: string): Totp {
  const url = URL.canParse(address) ? new URL(address) : null;
  const secret = decodeBase32(url?.searchParams.get('secret') ?? '');
  const algorithm = (url?.searchParams.get('algorithm') ?? 'SHA1').toLowerCase();
  const digits = Number(url?.searchParams.get('digits') ?? 6);
  const period = Number(url?.searchParams.get('period') ?? 30);
  const isKnown = algorithm === 'sha1' || algorithm === 'sha256' || algorithm === 'sha512';
  const isSane = Number.isSafeInteger(digits) && digits >= 6 && digits <= 10 && Number.isSafeInteger(period) && period >= 1 && period <= 3600;
  if (url === null || url.protocol !== 'otpauth:' || url.host !== 'totp' || secret === null || secret.length === 0 || !isKnown || !isSane) {
    throw new FarshoreError('access.totp', 'a TOTP address cannot be used: it needs a secret in base32, SHA1, SHA256 or SHA512, 6 to 10 digits, and a period of at most 3600 seconds');
  }
  return { secret, algorithm, digits, period };
}

/** The address as the reference stores it: label and issuer as they were given, secret, digits, algorithm and period spelled out. */
export function formatTotp(address: string, { digits, algorithm, period }: Totp): string {
  const url = new URL(address);
  const issuer = url.searchParams.get('issuer');
  const secret = encodeURIComponent(url.searchParams.get('secret') ?? '');
  return `otpauth://totp${url.pathname}?secret=${secret}&digits=${digits}&algorithm=${algorithm.toUpperCase()}&period=${period}${issuer === null ? '' : `&issuer=${encodeURIComponent(issuer)}`}`;
}

/** The code of one time step (RFC 4226, 5.3). */
export function totpCode({ secret, algorithm, digits }: Totp, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac(algorithm, secret).update(counter).digest();
  const offset = mac.at(-1)! & 0x0f;
  const number = mac.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, '0');
}

/** The time step (previous, current or next) whose code was typed and that is later than `lastStep`; null when there is none. */
export function matchingStep(totp: Totp, code: string, nowSeconds: number, lastStep = -1): number | null {
  const current = Math.floor(nowSeconds / totp.period);
  let found: number | null = null;
  for (const step of [current - 1, current, current + 1]) {
    if (step >= 0 && step > lastStep && secretsEqual(Buffer.from(totpCode(totp, step)), Buffer.from(code))) found ??= step;
  }
  return found;
}
