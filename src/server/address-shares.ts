import type { Socket } from 'node:net';
import { networkOf } from '../access/attempt-limit.ts';

/** Connections by address, so that one cannot take them all. */
export class AddressShares {
  readonly most: number;
  readonly #open = new Map<string, number>();

  /** `most`: connections of one address (IPv6: one /64). */
  constructor(most: number) {
    this.most = most;
  }

  /** Counts `socket` until it closes. False, and it is destroyed, when its address has enough. */
  take(socket: Socket): boolean {
    const network = networkOf(socket.remoteAddress ?? '');
    const open = this.#open.get(network) ?? 0;
    if (open >= this.most) {
      socket.destroy();
      return false;
    }
    this.#open.set(network, open + 1);
    socket.once('close', () => {
      const left = this.#open.get(network)! - 1;
      if (left > 0) this.#open.set(network, left);
      else this.#open.delete(network);
    });
    return true;
  }
}
