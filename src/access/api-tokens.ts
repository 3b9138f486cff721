import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { secretsEqual } from '../base/bytes.ts';
import type { HashFile } from '../config/shadow-config.ts';
import { hashPassword, verifyPassword } from '../sys/crypt.ts';

/** Secrets of API tokens: token.shadow (spec rest-api 5.1, 6.3). */

const maxCached = 4096;

export class ApiTokens {
  readonly #file: HashFile;
  /** Pairs that were verified, as digests: a hash of crypt(3) costs tens of milliseconds, and clients send the secret with every request. */
  readonly #verified = new Map<string, { hash: string; secretDigest: Buffer }>();
  /** Keeps secrets out of memory even as plain SHA-256. */
  readonly #pepper = randomBytes(32);

  constructor(file: HashFile) {
    this.#file = file;
  }

  /** Makes and stores a new secret (random UUID) and returns it. Only its hash is kept. */
  async generateSecret(tokenId: string): Promise<string> {
    const secret = randomUUID();
    const hash = await hashPassword(secret);
    await this.#file.update((table) => {
      table.set(tokenId, hash);
    });
    return secret;
  }

  async removeSecret(tokenId: string): Promise<void> {
    await this.#file.update((table) => {
      table.delete(tokenId);
    });
    this.#verified.delete(tokenId);
  }

  /** Whether `secret` is that of `tokenId`. What was verified before counts only as long as the stored hash is the same. */
  async verifySecret(tokenId: string, secret: string): Promise<boolean> {
    const hash = this.#file.load().value.get(tokenId);
    if (hash === undefined) {
      this.#verified.delete(tokenId);
      return false;
    }
    const secretDigest = createHash('sha256').update(this.#pepper).update(secret).digest();
    const known = this.#verified.get(tokenId);
    if (known?.hash === hash && secretsEqual(known.secretDigest, secretDigest)) return true;
    if (!(await verifyPassword(secret, hash))) return false;
    if (this.#verified.size >= maxCached) this.#verified.clear();
    this.#verified.set(tokenId, { hash, secretDigest });
    return true;
  }
}
