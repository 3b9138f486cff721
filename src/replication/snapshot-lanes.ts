import type { Digest } from '../base/bytes.ts';
import { AbortedError } from '../base/errors.ts';
import { ReaderClient, type ReaderOptions } from '../protocol/reader-client.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { isArchiveName, manifestFileName } from '../format/backup-path.ts';
import { archiveKind, indexHeaderLength } from '../format/chunk-index.ts';
import { maxChunkEncodedSize } from '../format/data-blob.ts';
import type { FlightControl } from './flight-control.ts';
import type { LaneBudget } from './lane-budget.ts';
import type { ListedFile, SnapshotSource } from './ports.ts';

/** One more connection for every so many bytes on the line: about what a connection's TCP window carries per round trip. */
const bytesPerLane = 2 * 1024 * 1024;
/** On a line with less delay one connection already fills it. */
const shortestDelayForLanesMs = 4;
/** Lanes are opened before anybody knows which chunks are missing, one for every so many bytes of content: it saves two round trips. */
const contentPerLaneAhead = 16 * 1024 * 1024;
/** A lane with fewer requests under way takes more before another lane is opened. */
const requestsBeforeNewLane = 2;
const pauseAfterFailedLaneMs = 10_000;
const largestIndexFile = 8 * 1024 ** 3;

/** Files are asked for together with the manifest as long as they are no more bytes than this: they wait in memory until they are wanted. */
const largestAhead = 4 * 1024 * 1024;
const mostFilesAhead = 8;
/** Bytes of an index for each byte of content if chunks have 1 MiB; they usually have four times that. */
const indexDensity = 40 / (1024 * 1024);

interface Lane {
  ready: Promise<ReaderClient>;
  /** Undefined while the lane is being opened. */
  client: ReaderClient | undefined;
  /** Indexes downloaded over this lane: the session serves only chunks that they name. */
  authorised: Map<string, Promise<void>>;
  /** Chunks asked for over this lane, or waiting until it is open. */
  load: number;
  /** Takes longer to open than the line explains: gets no chunks until it is open. */
  late: boolean;
}

export interface LanesOptions {
  endpoint: RemoteEndpoint;
  session: ReaderOptions;
  flight: FlightControl;
  budget: LaneBudget;
  /** Called before each chunk: measures the round trip now and then. */
  observeLine: () => void;
  /** Files of the snapshot, as far as the listing shows them. */
  files: readonly ListedFile[];
}

/**
 * One snapshot of a remote, read over as many reader sessions as the line needs: one TCP connection carries at most its window per round
 * trip. A session that fails is dropped, and the next request opens another; trying again is the caller's.
 */
export class SnapshotLanes implements SnapshotSource {
  readonly #options: LanesOptions;
  /** Archives that chunks are or will be asked of: a new lane downloads their indexes first. */
  readonly #archives = new Set<string>();
  /** Files asked for before anybody wanted them. */
  readonly #ahead = new Map<string, Promise<AsyncIterable<Buffer>>>();
  #lanes: Lane[] = [];
  #nextExtraLaneMs = 0;
  #closed = false;

  private constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Connects the first lane, so that a refusal (no permission, no such snapshot) is told at once. */
  static async open(options: LanesOptions): Promise<SnapshotLanes> {
    const lanes = new SnapshotLanes(options);
    const first = lanes.#firstLane();
    lanes.#openAhead();
    try {
      const client = await first.ready;
      lanes.#askAhead(first, client);
    } catch (e) {
      await lanes.close();
      throw e;
    }
    return lanes;
  }

  async file(filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>> {
    const ahead = this.#ahead.get(filename);
    this.#ahead.delete(filename);
    if (ahead !== undefined) return ahead;
    const lane = this.#firstLane();
    return this.#download(lane, await lane.ready, filename, maxBytes);
  }

  async chunk(digest: Digest, archive: string, maxBytes: number): Promise<Buffer> {
    this.#archives.add(archive);
    this.#options.observeLine();
    const { lane, client } = await this.#idlestLane();
    try {
      await this.#authorise(lane, client, archive);
      return await client.chunk(digest, { maxBytes });
    } finally {
      lane.load -= 1;
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const lane of this.#lanes) this.#drop(lane);
    return Promise.resolve();
  }

  async #download(lane: Lane, client: ReaderClient, filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>> {
    const startedMs = performance.now();
    const body = await client.download(filename, { maxBytes });
    this.#options.flight.observeRoundTrip(performance.now() - startedMs);
    // The server has registered the digests before it answers.
    if (archiveKind(filename) !== 'blob') lane.authorised.set(filename, Promise.resolve());
    return body;
  }

  /** Asks for what will most likely be wanted next, together with the manifest: a round trip less for each. */
  #askAhead(lane: Lane, client: ReaderClient): void {
    let room = largestAhead;
    const files = this.#options.files.filter(({ filename }) => filename !== manifestFileName);
    for (const { filename, size } of [{ filename: manifestFileName, size: 0 }, ...files.slice(0, mostFilesAhead)]) {
      if (!isArchiveName(filename) || size === null || !(size >= 0)) continue;
      const isBlob = archiveKind(filename) === 'blob';
      const bytes = isBlob ? size : indexHeaderLength + size * indexDensity;
      if (bytes > room) continue;
      room -= bytes;
      const body = this.#download(lane, client, filename, isBlob ? maxChunkEncodedSize : largestIndexFile);
      // Whoever wants it hears of the failure.
      body.catch(() => {});
      this.#ahead.set(filename, body);
    }
  }

  /** The first of the lanes, opened if there is none. */
  #firstLane(): Lane {
    if (this.#closed) throw new AbortedError('the snapshot was closed');
    this.#sweep();
    const [first] = this.#lanes;
    if (first !== undefined) return first;
    this.#options.budget.take();
    return this.#openLane();
  }

  /** Takes a place on the idlest lane that is open or soon will be; the caller gives it back. */
  async #idlestLane(): Promise<{ lane: Lane; client: ReaderClient }> {
    for (;;) {
      const lane = this.#pickLane();
      lane.load += 1;
      const isLast = this.#lanes.every((one) => one === lane || one.late);
      try {
        const client = lane.client ?? (isLast ? await lane.ready : await this.#inTime(lane));
        if (client !== null) return { lane, client };
        lane.late = lane.client === undefined;
      } catch (e) {
        // An additional lane is only for speed: the present ones report what is wrong with the line.
        if (isLast) {
          lane.load -= 1;
          throw e;
        }
      }
      lane.load -= 1;
    }
  }

  #pickLane(): Lane {
    const first = this.#firstLane();
    const idlest = (): Lane => {
      const inTime = this.#lanes.slice(0, this.#useful()).filter((lane) => !lane.late);
      return inTime.reduce((best, lane) => (lane.load < best.load ? lane : best), inTime[0] ?? first);
    };
    if (idlest().load >= requestsBeforeNewLane) this.#considerExtraLanes(Infinity);
    return idlest();
  }

  /** Lanes that the line needs; those beyond wait for better times, so that a thin line is not divided into more shares than others have. */
  #useful(): number {
    const { flight, budget } = this.#options;
    const surplus = budget.open - Math.max(1, Math.ceil(flight.carried / bytesPerLane));
    return Math.max(1, this.#lanes.length - Math.max(0, surplus));
  }

  /** Opens all that the line has room for at once: one after another would take several round trips each. */
  #considerExtraLanes(most: number): void {
    const { flight, budget } = this.#options;
    if (this.#closed || performance.now() < this.#nextExtraLaneMs || flight.roundTripMs < shortestDelayForLanesMs) return;
    while (this.#lanes.length < most && budget.tryTake(Math.ceil(flight.carried / bytesPerLane))) this.#openLane();
  }

  #openAhead(): void {
    let content = 0;
    for (const { filename, size } of this.#options.files) {
      if (!isArchiveName(filename) || archiveKind(filename) === 'blob' || size === null || !(size >= contentPerLaneAhead)) continue;
      this.#archives.add(filename);
      content += size;
    }
    this.#considerExtraLanes(Math.floor(content / contentPerLaneAhead));
  }

  /** The place in the budget has been taken; it is given back when the lane is dropped. */
  #openLane(): Lane {
    const { endpoint, session } = this.#options;
    const lane: Lane = { ready: ReaderClient.open(endpoint, session), client: undefined, authorised: new Map(), load: 0, late: false };
    this.#lanes.push(lane);
    lane.ready.then(
      (client) => {
        lane.client = client;
        lane.late = false;
        if (!this.#lanes.includes(lane)) client.close();
        else if (lane !== this.#lanes[0]) for (const archive of this.#archives) this.#authorise(lane, client, archive).catch(() => {});
      },
      () => {
        this.#nextExtraLaneMs = performance.now() + pauseAfterFailedLaneMs;
        this.#drop(lane);
      },
    );
    return lane;
  }

  /** Null when the lane takes much longer to open than the line explains. */
  async #inTime(lane: Lane): Promise<ReaderClient | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), 1000 + 8 * this.#options.flight.roundTripMs);
    });
    try {
      return await Promise.race([lane.ready, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #authorise(lane: Lane, client: ReaderClient, archive: string): Promise<void> {
    let done = lane.authorised.get(archive);
    if (done === undefined) {
      done = client.downloadTo(archive, () => {}, { maxBytes: largestIndexFile }).then(() => {});
      done.catch(() => lane.authorised.delete(archive));
      lane.authorised.set(archive, done);
    }
    await done;
  }

  /** Forgets lanes that have failed. */
  #sweep(): void {
    for (const lane of this.#lanes.filter((one) => one.client?.failure !== undefined)) this.#drop(lane);
  }

  #drop(lane: Lane): void {
    const before = this.#lanes.length;
    this.#lanes = this.#lanes.filter((one) => one !== lane);
    if (this.#lanes.length === before) return;
    lane.client?.close();
    this.#options.budget.giveBack();
  }
}
