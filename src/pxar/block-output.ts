/** Small writes are collected in blocks of this size. */
const blockSize = 128 * 1024;
/** Larger ones are passed on as they are. */
const copyLimit = 16 * 1024;

/** Collects small writes into larger ones. What is passed on is not touched again. */
export class BlockOutput {
  readonly #write: (bytes: Buffer) => void;
  #block = Buffer.alloc(0);
  /** Start and end of what was collected and not passed on. */
  #start = 0;
  #end = 0;
  #position = 0;

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  /** Bytes written so far. */
  get position(): number {
    return this.#position;
  }

  /** Room for `length` bytes, to be filled before the next call. */
  room(length: number): Buffer {
    this.#position += length;
    if (this.#end + length > this.#block.length) {
      this.flush();
      this.#block = Buffer.allocUnsafeSlow(Math.max(blockSize, length));
      this.#start = 0;
      this.#end = 0;
    }
    this.#end += length;
    return this.#block.subarray(this.#end - length, this.#end);
  }

  /** `bytes` must not be changed afterwards. */
  write(bytes: Buffer): void {
    if (bytes.length <= copyLimit) {
      this.room(bytes.length).set(bytes);
      return;
    }
    this.flush();
    this.#position += bytes.length;
    this.#write(bytes);
  }

  /** Passes on what was collected. */
  flush(): void {
    if (this.#end > this.#start) this.#write(this.#block.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  /** Counts bytes that somebody else puts into the stream here. */
  skip(length: number): void {
    this.flush();
    this.#position += length;
  }
}
