import type { Digest } from '../base/bytes.ts';
import { ReaderClient, type ReaderOptions } from '../protocol/reader-client.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { archiveKind } from '../format/chunk-index.ts';
import type { FlightControl } from './flight-control.ts';
import type { SnapshotSource } from './ports.ts';

/** One more connection for every so many bytes in flight: about what a connection's TCP window carries per round trip. */
const bytesPerLane = 2 * 1024 * 1024;
/** On a line with less delay one connection already fills it. */
const shortestDelayForLanesMs = 4;
/** A lane with fewer requests under way takes more before another lane is opened. */
const requestsBeforeNewLane = 2;
const pauseAfterFailedLaneMs = 10_000;
const largestIndexFile = 8 * 1024 ** 3;

/** Connections of a job, over all its snapshots. A snapshot's first lane is not counted against it: snapshots are bounded themselves. */
export class LaneBudget {
  readonly #most: number;
  #open = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get open(): number {
    return this.#open;
  }

  /** Takes a place for an additional lane if `wanted` lanes and the bound allow it. */
  tryTake(wanted: number): boolean {
    if (this.#open >= Math.min(this.#most, wanted)) return false;
    this.#open += 1;
    return true;
  }

  take(): void {
    this.#open += 1;
  }

  giveBack(): void {
    this.#open -= 1;
  }
}

interface Lane {
  client: ReaderClient;
  /** Indexes downloaded over this lane: the session serves only chunks that they name. */
  authorised: Map<string, Promise<void>>;
}

export interface LanesOptions {
  endpoint: RemoteEndpoint;
  session: ReaderOptions;
  flight: FlightControl;
  budget: LaneBudget;
}

/**
 * One snapshot of a remote, read over as many reader sessions as the line needs: one TCP connection carries at most its window per round
 * trip. A session that fails is dropped, and the next request opens another; trying again is the caller's.
 */
export class SnapshotLanes implements SnapshotSource {
  readonly #options: LanesOptions;
  #lanes: Lane[] = [];
  #opening: Promise<Lane> | null = null;
  #nextExtraLaneMs = 0;
  #closed = false;

  private constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Connects the first lane, so that a refusal (no permission, no such snapshot) is told at once. */
  static async open(options: LanesOptions): Promise<SnapshotLanes> {
    const lanes = new SnapshotLanes(options);
    await lanes.#firstLane();
    return lanes;
  }

  async file(filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>> {
    const lane = await this.#firstLane();
    const startedMs = performance.now();
    const body = await lane.client.download(filename, { maxBytes });
    this.#options.flight.observeRoundTrip(performance.now() - startedMs);
    // The server has registered the digests before it answers.
    if (archiveKind(filename) !== 'blob') lane.authorised.set(filename, Promise.resolve());
    return body;
  }

  async chunk(digest: Digest, archive: string, maxBytes: number): Promise<Buffer> {
    const lane = await this.#pickLane();
    await this.#authorise(lane, archive);
    return lane.client.chunk(digest, { maxBytes });
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const lane of this.#lanes) this.#drop(lane);
    return Promise.resolve();
  }

  async #firstLane(): Promise<Lane> {
    this.#sweep();
    return this.#lanes[0] ?? (await this.#openLane());
  }

  /** The idlest lane; begins another one in the background when all are busy and the line has room. */
  async #pickLane(): Promise<Lane> {
    this.#sweep();
    let idlest = this.#lanes[0];
    if (idlest === undefined) return this.#openLane();
    for (const lane of this.#lanes) if (lane.client.inFlight < idlest.client.inFlight) idlest = lane;
    if (idlest.client.inFlight >= requestsBeforeNewLane) this.#considerExtraLane();
    return idlest;
  }

  /** Opens all that the line has room for at once: one after another would take several round trips each. */
  #considerExtraLane(): void {
    const { flight, budget } = this.#options;
    if (performance.now() < this.#nextExtraLaneMs || flight.roundTripMs < shortestDelayForLanesMs) return;
    while (budget.tryTake(Math.ceil(flight.limit / bytesPerLane))) {
      this.#connect().catch(() => {
        // An additional lane is only for speed: the present ones report what is wrong with the line.
        this.#nextExtraLaneMs = performance.now() + pauseAfterFailedLaneMs;
      });
    }
  }

  async #openLane(): Promise<Lane> {
    if (this.#opening === null) {
      this.#options.budget.take();
      this.#opening = this.#connect().finally(() => {
        this.#opening = null;
      });
    }
    return this.#opening;
  }

  /** The place in the budget has been taken; it is given back when this fails. */
  async #connect(): Promise<Lane> {
    const { endpoint, session, budget } = this.#options;
    try {
      const lane: Lane = { client: await ReaderClient.open(endpoint, session), authorised: new Map() };
      if (this.#closed) lane.client.close();
      this.#lanes.push(lane);
      if (this.#closed) this.#drop(lane);
      return lane;
    } catch (e) {
      budget.giveBack();
      throw e;
    }
  }

  async #authorise(lane: Lane, archive: string): Promise<void> {
    let done = lane.authorised.get(archive);
    if (done === undefined) {
      done = lane.client.downloadTo(archive, () => {}, { maxBytes: largestIndexFile }).then(() => {});
      done.catch(() => lane.authorised.delete(archive));
      lane.authorised.set(archive, done);
    }
    await done;
  }

  /** Forgets lanes that have failed. */
  #sweep(): void {
    for (const lane of this.#lanes.filter((one) => one.client.failure !== undefined)) this.#drop(lane);
  }

  #drop(lane: Lane): void {
    const before = this.#lanes.length;
    this.#lanes = this.#lanes.filter((one) => one !== lane);
    if (this.#lanes.length === before) return;
    lane.client.close();
    this.#options.budget.giveBack();
  }
}
