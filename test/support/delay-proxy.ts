import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface LineShape {
  /** Delay of each way in milliseconds: half a round trip. */
  delayMs: number;
  /** Bytes per second of each way, over all connections; Infinity = as fast as it goes. */
  rate: number;
  /** Bytes that a connection may have on the way without an answer, each way: what TCP windows allow. */
  window: number;
}

export interface DelayProxyOptions extends Partial<LineShape> {
  target: { host: string; port: number };
  host?: string;
  /** Shares the line of another one: what one sends delays the other. Its delay and window are this one's own. */
  sharesLineOf?: DelayProxy;
}

/** Enough for a line without delay; a connection of a usual Linux has 4 to 6 MiB at most. */
const defaultWindow = 4 * 1024 * 1024;

/**
 * A TCP proxy in this process that turns the loopback into another line: delay, rate, windows, and everything that goes wrong with lines. `up`
 * is towards the target, `down` back to the client. Counts bytes as they arrive at the far end.
 */
export class DelayProxy implements AsyncDisposable {
  /** While true, new connections are cut off at once. */
  refuse = false;
  readonly delivered = { up: 0, down: 0 };
  /** Connections accepted, and the times that all were cut. */
  connections = 0;
  cuts = 0;
  /** From the next cut on, new connections are refused, too. */
  refuseAfterCut = false;
  /** Bytes that were on their way down when connections were cut. */
  lostDown = 0;
  readonly #shape: LineShape;
  #target: { host: string; port: number };
  readonly #server = createServer({ allowHalfOpen: true, highWaterMark: 256 * 1024 }, (socket) => this.#accept(socket));
  readonly #lines: { up: Line; down: Line };
  readonly #open = new Set<Connection>();
  /** Sorted positions of `delivered` at which all connections are cut. */
  readonly #cutsAt: { up: number[]; down: number[] } = { up: [], down: [] };
  #stalled = false;

  private constructor(options: DelayProxyOptions) {
    this.#target = options.target;
    this.#shape = { delayMs: options.delayMs ?? 0, rate: options.rate ?? Infinity, window: options.window ?? defaultWindow };
    const other = options.sharesLineOf;
    this.#lines = other !== undefined ? other.#lines : { up: new Line(this.#shape.rate), down: new Line(this.#shape.rate) };
  }

  static async start(options: DelayProxyOptions): Promise<DelayProxy> {
    const proxy = new DelayProxy(options);
    proxy.#server.listen(0, options.host ?? '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get open(): number {
    return this.#open.size;
  }

  /** Later connections lead to another port: what was there is gone. */
  leadTo(port: number): void {
    this.#target = { ...this.#target, port };
  }

  /** Cuts all connections each time that another of these numbers of bytes (from now on) has come down. */
  cutAfter(...bytes: number[]): void {
    this.#cutsAt.down = bytes.map((position) => this.delivered.down + position).toSorted((a, b) => a - b);
  }

  /** As `cutAfter`, of bytes that have gone up. */
  cutAfterSent(...bytes: number[]): void {
    this.#cutsAt.up = bytes.map((position) => this.delivered.up + position).toSorted((a, b) => a - b);
  }

  /** Cuts all connections now, with a reset. */
  cut(): void {
    this.cuts += 1;
    if (this.refuseAfterCut) this.refuse = true;
    for (const connection of this.#open) {
      this.lostDown += connection.down.onTheWay;
      connection.destroy();
    }
  }

  /** Nothing moves any more, but nobody is told; `false` lets it go on. */
  stall(stalled = true): void {
    this.#stalled = stalled;
    if (!stalled) for (const { up, down } of this.#open) for (const way of [up, down]) way.deliver();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of this.#open) connection.destroy();
    await closed;
  }

  #accept(client: Socket): void {
    this.connections += 1;
    if (this.refuse) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    client.setNoDelay(true);
    const way = (from: Socket, to: Socket, name: 'up' | 'down'): Way =>
      new Way(from, to, this.#lines[name], this.#shape, {
        stalled: () => this.#stalled,
        delivered: (bytes) => this.#count(name, bytes),
      });
    const connection: Connection = {
      up: way(client, server, 'up'),
      down: way(server, client, 'down'),
      destroy: () => {
        this.#open.delete(connection);
        for (const one of [connection.up, connection.down]) one.stop();
        for (const socket of [client, server]) breakOff(socket);
      },
    };
    this.#open.add(connection);
    for (const socket of [client, server]) {
      // What breaks on one side breaks on the other; while the line stands still nobody hears of it.
      socket.on('error', () => {
        if (!this.#stalled) connection.destroy();
      });
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) this.#open.delete(connection);
      });
    }
  }

  #count(name: 'up' | 'down', bytes: number): void {
    this.delivered[name] += bytes;
    const [next] = this.#cutsAt[name];
    if (next === undefined || this.delivered[name] < next) return;
    this.#cutsAt[name].shift();
    this.cut();
  }
}

/** With a reset where that is possible: Node would first wait until everything is written, which may be never. */
function breakOff(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableLength === 0 && !socket.writableEnded && !socket.connecting) socket.resetAndDestroy();
  else socket.destroy();
}

interface Connection {
  up: Way;
  down: Way;
  destroy(): void;
}

/** One direction of the line, shared by all connections: a piece leaves when all before it have. */
class Line {
  readonly #bytesPerMs: number;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** When the last bit of a piece that is handed over now has left. */
  reserve(bytes: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, performance.now()) + bytes / this.#bytesPerMs;
    return this.#freeAtMs;
  }
}

/** One direction of one connection. */
class Way {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #shape: LineShape;
  readonly #hooks: { stalled(): boolean; delivered(bytes: number): void };
  /** Pieces on the way with the time of their arrival; null = the end of the stream. */
  readonly #queue: Array<{ dueMs: number; piece: Buffer | null }> = [];
  /** Arrived, but the sender has not heard of it. */
  readonly #unheard: Array<{ dueMs: number; bytes: number }> = [];
  #onTheWay = 0;
  #unanswered = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(from: Socket, to: Socket, line: Line, shape: LineShape, hooks: { stalled(): boolean; delivered(bytes: number): void }) {
    this.#from = from;
    this.#to = to;
    this.#shape = shape;
    this.#hooks = hooks;
    from.on('data', (piece: Buffer) => {
      this.#onTheWay += piece.length;
      this.#unanswered += piece.length;
      this.#queue.push({ dueMs: line.reserve(piece.length) + shape.delayMs, piece });
      this.#hold();
      this.deliver();
    });
    from.on('end', () => {
      this.#queue.push({ dueMs: line.reserve(0) + shape.delayMs, piece: null });
      this.deliver();
    });
    to.on('drain', () => this.deliver());
  }

  get onTheWay(): number {
    return this.#onTheWay;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Hands on what is due. */
  deliver(): void {
    if (this.#stopped || this.#hooks.stalled()) return;
    const now = performance.now();
    for (let next = this.#queue[0]; next !== undefined && next.dueMs <= now && !this.#to.writableNeedDrain; next = this.#queue[0]) {
      this.#queue.shift();
      if (next.piece === null) {
        this.#to.end();
        continue;
      }
      const { length } = next.piece;
      this.#onTheWay -= length;
      this.#to.write(next.piece);
      this.#unheard.push({ dueMs: now + this.#shape.delayMs, bytes: length });
      this.#hooks.delivered(length);
      // Counting may have cut the connection.
      if (this.#stopped) return;
    }
    while (this.#unheard[0] !== undefined && this.#unheard[0].dueMs <= now) this.#unanswered -= this.#unheard.shift()!.bytes;
    this.#hold();
    this.#schedule(now);
  }

  #hold(): void {
    if (this.#unanswered >= this.#shape.window) this.#from.pause();
    else if (this.#from.isPaused()) this.#from.resume();
  }

  #schedule(now: number): void {
    clearTimeout(this.#timer);
    const arrival = this.#to.writableNeedDrain ? undefined : this.#queue[0]?.dueMs;
    const answer = this.#unanswered >= this.#shape.window ? this.#unheard[0]?.dueMs : undefined;
    const next = Math.min(arrival ?? Infinity, answer ?? Infinity);
    if (next < Infinity) this.#timer = setTimeout(() => this.deliver(), Math.max(0, next - now));
  }
}
