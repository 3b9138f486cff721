/** Work that goes on until it is stopped; at most one at a time. */
export class BackgroundLoop {
  #stop: AbortController | null = null;
  #ended: Promise<void> = Promise.resolve();

  get isRunning(): boolean {
    return this.#stop !== null;
  }

  /** Of the running loop; null when none runs. */
  get signal(): AbortSignal | null {
    return this.#stop?.signal ?? null;
  }

  /** `run` goes on until its signal is aborted, and does not reject then. Nothing happens when one runs already. */
  start(run: (signal: AbortSignal) => Promise<void>): void {
    if (this.#stop !== null) return;
    this.#stop = new AbortController();
    this.#ended = run(this.#stop.signal);
  }

  /** Resolves when `run` has returned. */
  async stop(): Promise<void> {
    this.#stop?.abort();
    await this.#ended;
    this.#stop = null;
  }
}
