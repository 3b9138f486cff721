import type { Duplex } from 'node:stream';

interface Connection {
  /** What `begin` has opened and not yet ended. */
  busy: number;
}

/** The open connections of one layer of a listener: what has to be waited for, and what can be cut. */
export class Connections {
  readonly #open = new Map<Duplex, Connection>();
  #emptied: (() => void) | null = null;
  #closing = false;

  get count(): number {
    return this.#open.size;
  }

  /** Follows a new connection until its socket closes. Too late a one is cut at once. */
  add(socket: Duplex): void {
    if (this.#closing) {
      socket.destroy();
      return;
    }
    this.#open.set(socket, { busy: 0 });
    socket.once('close', () => {
      this.#open.delete(socket);
      if (this.#open.size === 0) this.#emptied?.();
    });
  }

  /** Marks the connection as busy; the result ends that, once. */
  begin(socket: Duplex): () => void {
    const connection = this.#open.get(socket);
    if (connection === undefined) return () => {};
    connection.busy += 1;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      connection.busy -= 1;
      // The answer may not have left the socket's buffer: end, not destroy.
      if (this.#closing && connection.busy === 0) socket.end();
    };
  }

  /** Cuts idle connections now, ends the others when they are done, cuts what is left after `graceMs` whatever it does. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    for (const [socket, connection] of this.#open) if (connection.busy === 0) socket.destroy();
    if (this.#open.size === 0) return;
    const emptied = new Promise<void>((resolve) => (this.#emptied = resolve));
    const timer = setTimeout(() => {
      for (const socket of this.#open.keys()) socket.destroy();
    }, graceMs);
    await emptied;
    clearTimeout(timer);
  }
}
