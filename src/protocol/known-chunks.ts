import { HttpError } from '../base/errors.ts';
import type { Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';

/** 64 TiB in chunks of 4 MiB, 0.8 GiB of memory. */
const knownChunksLimit = 16 * 1024 * 1024;

/** The chunks that the client of a backup session may name, with their plain sizes (spec backup-protocol 5); in some 45 bytes each. */
export class KnownChunks {
  readonly #digests = new DigestSet();
  #sizes = new Uint32Array(1024);

  /** Registers a chunk of `size` bytes; the last size counts. HttpError 400 beyond a limit that no backup reaches. */
  add(digest: Digest, size: number): void {
    this.#digests.add(digest);
    const at = this.#digests.position(digest);
    if (at >= this.#sizes.length) {
      if (at >= knownChunksLimit) throw new HttpError(400, `more than ${knownChunksLimit} chunks in one backup session`);
      const larger = new Uint32Array(this.#sizes.length * 2);
      larger.set(this.#sizes);
      this.#sizes = larger;
    }
    this.#sizes[at] = size;
  }

  /** Plain size; null for a chunk that this session has neither sent nor been told of. */
  size(digest: Digest): number | null {
    const at = this.#digests.position(digest);
    return at < 0 ? null : this.#sizes[at]!;
  }
}
