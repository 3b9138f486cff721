import { createHash } from 'node:crypto';
import { FormatError } from '../base/errors.ts';

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const defaultRounds = 5000;
const minRounds = 1000;
/** The algorithm allows 999,999,999, which would take half an hour. */
const maxRounds = 5_000_000;
const maxSaltLength = 16;

const hashPattern = /^\$5\$(?:rounds=([0-9]{1,9})\$)?([^$]{0,64})(?:\$([./0-9A-Za-z]{43}))?$/;

/** Which bytes of the digest make up each group of four characters. */
const groupOrder = [
  [0, 10, 20],
  [21, 1, 11],
  [12, 22, 2],
  [3, 13, 23],
  [24, 4, 14],
  [15, 25, 5],
  [6, 16, 26],
  [27, 7, 17],
  [18, 28, 8],
  [9, 19, 29],
] as const;

function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** `block` repeated and cut to `length` bytes. */
function stretched(block: Uint8Array, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at < length; at += block.byteLength) out.set(block.subarray(0, Math.min(block.byteLength, length - at)), at);
  return out;
}

/** Base-64 of crypt(3): little endian groups of the bytes in the order that SHA-crypt defines. */
function encode(digest: Uint8Array): string {
  let text = '';
  const group = (b2: number, b1: number, b0: number, characters: number): void => {
    let word = (b2 << 16) | (b1 << 8) | b0;
    for (let i = 0; i < characters; i += 1) {
      text += alphabet[word & 0x3f]!;
      word >>>= 6;
    }
  };
  for (const [b2, b1, b0] of groupOrder) group(digest[b2]!, digest[b1]!, digest[b0]!, 4);
  group(0, digest[31]!, digest[30]!, 3);
  return text;
}

/**
 * SHA-256-crypt (`$5$`, Drepper's "Unix crypt using SHA-256"). `setting` is a salt text `$5$[rounds=N$]salt` or a whole hash.
 * Returns the whole hash text. FormatError `format.password-hash` for any other method.
 */
export function sha256Crypt(password: string, setting: string): string {
  const match = hashPattern.exec(setting);
  if (match === null) throw new FormatError('format.password-hash', 'not a SHA-256-crypt password hash');
  const rounds = match[1] === undefined ? defaultRounds : Math.max(minRounds, Number(match[1]));
  if (rounds > maxRounds) throw new FormatError('format.password-hash', `password hash with ${rounds} rounds, more than ${maxRounds}`);
  const salt = Buffer.from(match[2]!, 'utf8').subarray(0, maxSaltLength);
  const key = Buffer.from(password, 'utf8');

  const inner = sha256(key, salt, key);
  const parts: Uint8Array[] = [key, salt, stretched(inner, key.byteLength)];
  for (let bits = key.byteLength; bits > 0; bits >>>= 1) parts.push((bits & 1) === 1 ? inner : key);
  let digest = sha256(...parts);

  const keyBytes = stretched(sha256(...Array.from({ length: key.byteLength }, () => key)), key.byteLength);
  const saltBytes = stretched(sha256(...Array.from({ length: 16 + digest[0]! }, () => salt)), salt.byteLength);
  for (let round = 0; round < rounds; round += 1) {
    const step: Uint8Array[] = [(round & 1) === 1 ? keyBytes : digest];
    if (round % 3 !== 0) step.push(saltBytes);
    if (round % 7 !== 0) step.push(keyBytes);
    step.push((round & 1) === 1 ? digest : keyBytes);
    digest = sha256(...step);
  }
  return `$5$${match[1] === undefined ? '' : `rounds=${rounds}$`}${salt.toString('utf8')}$${encode(digest)}`;
}

/** `$5$` and 16 characters of the crypt alphabet from 16 random bytes. */
export function sha256Salt(random: Uint8Array): string {
  return `$5$${Array.from(random.subarray(0, maxSaltLength), (byte) => alphabet[byte & 0x3f]!).join('')}`;
}
