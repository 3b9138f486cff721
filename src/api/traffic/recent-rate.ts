/** Bytes of the last full second (spec server 12: sampled each second). */
export class RecentRate {
  #second = -1;
  #bytes = 0;
  #before = 0;

  add(bytes: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#bytes += bytes;
  }

  bytesPerSecond(nowMs: number): number {
    this.#turn(nowMs);
    return this.#before;
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    if (second === this.#second) return;
    this.#before = second === this.#second + 1 ? this.#bytes : 0;
    this.#bytes = 0;
    this.#second = second;
  }
}
