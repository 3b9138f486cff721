import type { Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';

/** Chunks settled in a job are remembered up to this many (about 40 MB); beyond it a chunk is only looked at again. */
const maxRemembered = 1_000_000;

/** Chunks that a job has seen in its target or stored there, and those of them whose stored bytes were checked: repair believes nothing less. */
export class SettledDigests {
  readonly #settled = new DigestSet();
  readonly #checked = new DigestSet();

  has(digest: Digest, options: { repair: boolean }): boolean {
    return (options.repair ? this.#checked : this.#settled).has(digest);
  }

  add(digest: Digest, checked: boolean): void {
    for (const set of checked ? [this.#settled, this.#checked] : [this.#settled]) {
      if (set.size >= maxRemembered) set.clear();
      set.add(digest);
    }
  }
}
