import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestLength } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { ConfigError, errorCode, FormatError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { replaceFile } from '../config/atomic-file.ts';

/** Who made the copy that was adopted: what an administrator said once. */
export interface AdoptionClaim {
  remote: string;
  /** Datastore at the remote. */
  store: string;
  /** Where the remote leads to and who we are there, as of the possession journal. */
  identity: string;
}

/**
 * Which chunks datastores held when they were taken over from elsewhere, e.g. carried over on a disk. After an administrator has said which remote they came
 * from, these chunks, and only these, count as delivered by that remote; each only after it has been read and checked. What came later, from whomever,
 * never counts: otherwise the remote could learn what others keep here.
 */
export class AdoptedCopies {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keeps what is there now; a claim of an earlier datastore of that name is gone. */
  async record(store: string, chunks: DigestSet): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o750 });
    // The claim goes first: it must never stand beside the chunks of another adoption.
    await rm(this.#claimPath(store), { force: true });
    const path = this.#chunksPath(store);
    try {
      await this.#write(`${path}.new`, chunks);
    } catch (e) {
      // Of a full disk it would keep what little is left.
      await rm(`${path}.new`, { force: true });
      throw e;
    }
    failpoint('adoption.before-rename');
    await rename(`${path}.new`, path);
  }

  async #write(path: string, chunks: DigestSet): Promise<void> {
    const file = await open(path, 'w', 0o640);
    try {
      let pieces: Buffer[] = [];
      for (const digest of chunks.values()) {
        pieces.push(Buffer.from(digest));
        if (pieces.length === 4096) {
          await file.write(Buffer.concat(pieces));
          pieces = [];
        }
      }
      await file.write(Buffer.concat(pieces));
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** ConfigError when the datastore was not adopted, or another remote has been named already. */
  async claim(store: string, claim: AdoptionClaim): Promise<void> {
    if ((await readIfThere(this.#chunksPath(store))) === null) {
      throw new ConfigError('config.adoption', `datastore '${store}' was not taken over from elsewhere, so nothing in it counts as delivered by a remote`, {
        hint: `only one that was made with \`farshore datastore create ${store} PATH --reuse-datastore true\` can be adopted`,
      });
    }
    const before = await this.#claim(store);
    if (before !== null && (before.remote !== claim.remote || before.store !== claim.store)) {
      throw new ConfigError('config.adoption', `what datastore '${store}' held at first came from ${before.remote}/${before.store}, as was said before: it cannot come from ${claim.remote}/${claim.store}, too`);
    }
    await replaceFile(this.#claimPath(store), Buffer.from(`${JSON.stringify(claim)}\n`), { mode: 0o640, owner: null });
  }

  /** Chunks that count for this remote once they have been checked; null when nothing was claimed for it. A remote that leads elsewhere now is another. */
  async of(store: string, remote: string, remoteStore: string, identity: string): Promise<DigestSet | null> {
    const claim = await this.#claim(store);
    if (claim === null || claim.remote !== remote || claim.store !== remoteStore || claim.identity !== identity) return null;
    const bytes = await readIfThere(this.#chunksPath(store));
    if (bytes === null) return null;
    if (bytes.byteLength % digestLength !== 0) throw new FormatError('format.adoption', `"${this.#chunksPath(store)}" is damaged`, { hint: 'remove it: the next sync fetches what is missing from the remote' });
    const chunks = new DigestSet(bytes.byteLength / digestLength);
    for (let at = 0; at < bytes.byteLength; at += digestLength) chunks.add(bytes.subarray(at, at + digestLength));
    return chunks;
  }

  async forget(store: string): Promise<void> {
    for (const path of [this.#claimPath(store), this.#chunksPath(store), `${this.#chunksPath(store)}.new`]) await rm(path, { force: true });
  }

  async #claim(store: string): Promise<AdoptionClaim | null> {
    const bytes = await readIfThere(this.#claimPath(store));
    if (bytes === null) return null;
    try {
      const claim = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
      const { remote, store: remoteStore, identity } = claim;
      if (typeof remote === 'string' && typeof remoteStore === 'string' && typeof identity === 'string') return { remote, store: remoteStore, identity };
    } catch (e) {
      if (!(e instanceof SyntaxError)) throw e;
    }
    throw new FormatError('format.adoption', `"${this.#claimPath(store)}" is damaged`, { hint: 'remove it and name the remote again' });
  }

  #chunksPath(store: string): string {
    return join(this.#folder, `${store}.chunks`);
  }

  #claimPath(store: string): string {
    return join(this.#folder, `${store}.claim.json`);
  }
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw e;
  }
}
