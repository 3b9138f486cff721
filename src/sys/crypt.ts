import { randomBytes } from 'node:crypto';
import { dlopen } from 'node:ffi';
import { secretsEqual } from '../base/bytes.ts';
import { FarshoreError, FormatError } from '../base/errors.ts';
import { callOffThread } from './off-thread-call.ts';
import { sha256Crypt, sha256Salt } from './sha256-crypt.ts';

const cryptLibrary = 'libcrypt.so.1';
/** Longest password that crypt(3) takes (CRYPT_MAX_PASSPHRASE_SIZE). */
const maxPasswordBytes = 512;
/** What crypt(3) needs in the largest of the known libraries is 128 KiB. */
const cryptDataSize = 256 * 1024;

const cryptBody = `
  const { functions: c } = ffi.dlopen('${cryptLibrary}', { crypt_r: { arguments: ['pointer', 'pointer', 'pointer'], return: 'pointer' } });
  const data = Buffer.alloc(${cryptDataSize});
  const result = c.crypt_r(Buffer.from(input.password + '\\0'), Buffer.from(input.setting + '\\0'), data);
  const text = result === 0n ? null : ffi.toString(result);
  data.fill(0);
  return { value: text };`;

let preferredSalt: ((random: Uint8Array) => string) | undefined;
let libraryPresent: boolean | undefined;

function hasCryptLibrary(): boolean {
  if (libraryPresent === undefined) {
    try {
      dlopen(cryptLibrary).lib.close();
      libraryPresent = true;
    } catch {
      libraryPresent = false;
    }
  }
  return libraryPresent;
}

/** Salt maker for new passwords: yescrypt where the library has it, else SHA-256-crypt, which every reference server reads too. */
function saltMaker(): (random: Uint8Array) => string {
  try {
    const { functions } = dlopen(cryptLibrary, { crypt_gensalt_rn: { arguments: ['pointer', 'u64', 'pointer', 'i32', 'pointer', 'i32'], return: 'pointer' } });
    return (random) => {
      const output = Buffer.alloc(192);
      const result = functions.crypt_gensalt_rn(Buffer.from('$y$\0'), 0n, random, random.byteLength, output, output.byteLength);
      return result === 0n ? sha256Salt(random) : output.toString('latin1', 0, output.indexOf(0));
    };
  } catch {
    return sha256Salt;
  }
}

async function cryptText(password: string, setting: string): Promise<string> {
  if (setting.startsWith('$5$')) return sha256Crypt(password, setting);
  if (!hasCryptLibrary()) {
    throw new FarshoreError('crypt.no-library', `this password was hashed with a method that needs ${cryptLibrary}, which is not installed`, {
      hint: 'Install the package libcrypt1, or set the password again.',
    });
  }
  const text = (await callOffThread('crypt', cryptBody, { password, setting })) as string | null;
  // Failure is a null pointer or a text that starts with '*' and equals no hash.
  if (text === null || text.startsWith('*')) throw new FormatError('format.password-hash', `the password hash is not one that ${cryptLibrary} knows`);
  return text;
}

function checkPassword(password: string): void {
  if (password.includes('\0') || Buffer.byteLength(password) >= maxPasswordBytes) {
    throw new FarshoreError('crypt.password', `a password is shorter than ${maxPasswordBytes} bytes and has no NUL character`);
  }
}

/** Hash text of a new password in the form of crypt(3): `$y$j9T$...` (yescrypt), or `$5$...` where libcrypt is absent. Runs off the event loop. */
export async function hashPassword(password: string): Promise<string> {
  checkPassword(password);
  preferredSalt ??= saltMaker();
  return cryptText(password, preferredSalt(randomBytes(16)));
}

/**
 * Whether `password` gives `hash` (any method of crypt(3)); compared in constant time. An empty or locked hash (`!`, `*`) is never met.
 * Throws `crypt.no-library` or FormatError `format.password-hash` when the method cannot be computed here.
 */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  if (password.includes('\0') || Buffer.byteLength(password) >= maxPasswordBytes) return false;
  if (!hash.startsWith('$') || hash.includes('\0')) return false;
  const computed = await cryptText(password, hash);
  return secretsEqual(Buffer.from(computed, 'utf8'), Buffer.from(hash, 'utf8'));
}
