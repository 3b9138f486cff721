import { createHash } from 'node:crypto';
import { asBuffer, type Digest } from '../base/bytes.ts';
import type { JournalLease } from './journals.ts';

/**
 * What one uploader has delivered into one datastore, so that a push that was cut goes on where it was (docs/compatibility.md, `deliveries`). It answers
 * only for chunks that this very user brought himself, with the plain size that was checked then: it tells nobody what others keep here.
 */
export class Deliveries implements Disposable {
  readonly #lease: JournalLease;

  constructor(lease: JournalLease) {
    this.#lease = lease;
  }

  /** The chunk of `size` plain bytes was received, checked and stored. */
  add(digest: Digest, size: number): void {
    this.#lease.journal.add(deliveryKey(digest, size));
  }

  has(digest: Digest, size: number): boolean {
    return this.#lease.journal.has(deliveryKey(digest, size));
  }

  /** Call before the datastore's flush, and what it returns after it: what was added until now survives a power loss then. */
  beginFlush(): () => void {
    const { journal } = this.#lease;
    const epoch = journal.beginFlush();
    return () => journal.flushed(epoch);
  }

  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]();
  }
}

/** The size belongs to the proof: an index must not say another one of a chunk than was checked. */
function deliveryKey(digest: Digest, size: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(size);
  return asBuffer(createHash('sha256').update(digest).update(length).digest());
}
