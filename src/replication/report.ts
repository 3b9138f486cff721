import type { Clock } from '../base/clock.ts';
import { humanSize } from '../base/human-size.ts';

/** What a run did; counts only what really happened. Bytes are encoded bytes that crossed the line. */
export class ReplicationReport {
  readonly #clock: Clock;
  readonly #direction: 'pull' | 'push';
  readonly #startedMs: number;
  #endedMs: number | null = null;
  groups = 0;
  /** Groups that could not be synced. */
  failedGroups = 0;
  /** Nothing ended the run before its end: errors of single groups do not. */
  complete = false;
  snapshots = 0;
  unchangedSnapshots = 0;
  fetchedChunks = 0;
  fetchedBytes = 0;
  /** Of those fetched, what is stored and known to the possession journal: a later run does not fetch it again. */
  storedChunks = 0;
  storedBytes = 0;
  /** Chunks that were not fetched since the copy was there already and may be used. */
  reusedChunks = 0;
  /** Plain bytes of those. */
  reusedBytes = 0;
  repairedChunks = 0;
  removedSnapshots = 0;
  removedGroups = 0;
  removedNamespaces = 0;
  /** Errors after which the run went on; a run with errors ends as failed. */
  readonly errors: string[] = [];

  constructor(clock: Clock, direction: 'pull' | 'push' = 'pull') {
    this.#direction = direction;
    this.#clock = clock;
    this.#startedMs = clock.now();
  }

  end(): void {
    this.#endedMs = this.#clock.now();
  }

  get elapsedSeconds(): number {
    return Math.max(0, (this.#endedMs ?? this.#clock.now()) - this.#startedMs) / 1000;
  }

  /** Of a run that ended in error: what it has not done in vain. */
  kept(journalIsUsable: boolean): string {
    const chunks = `${this.storedChunks} chunks (${humanSize(this.storedBytes)}) that arrived are stored`;
    const again = journalIsUsable ? 'and will not be fetched again' : 'but the possession journal failed: what no finished snapshot names may be fetched again';
    return `Kept: ${this.snapshots} snapshots are complete; ${chunks} ${again}`;
  }

  /** Lines as the reference writes them (spec sync 3.6), with wall-clock rate, and one more for what was reused. */
  summary(): string[] {
    const lines: string[] = [];
    if (this.fetchedChunks === 0) {
      lines.push(`Summary: sync job found no new data to ${this.#direction}`);
    } else {
      const rate = this.elapsedSeconds > 0 ? this.fetchedBytes / this.elapsedSeconds : 0;
      lines.push(`Summary: sync job ${this.#direction}ed ${humanSize(this.fetchedBytes)} in ${this.fetchedChunks} chunks (average rate: ${humanSize(rate)}/s)`);
    }
    if (this.reusedChunks > 0) lines.push(`Reused ${this.reusedChunks} chunks (${humanSize(this.reusedBytes)}) that ${this.#direction === 'pull' ? 'this source had delivered before' : 'the target had from us already'}`);
    if (this.repairedChunks > 0) lines.push(`Repaired ${this.repairedChunks} chunks whose copy was bad`);
    if (this.removedSnapshots + this.removedGroups + this.removedNamespaces > 0) {
      lines.push(`Summary: removed vanished: snapshots: ${this.removedSnapshots}, groups: ${this.removedGroups}, namespaces: ${this.removedNamespaces}`);
    }
    return lines;
  }
}
