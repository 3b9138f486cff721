import { ByteQueue } from '../base/byte-queue.ts';
import { decodeItemHeader, itemHeaderLength, pxarError } from './item.ts';

/** Exactly `length` bytes from `offset`. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** Where the contents of a split archive's files come from. */
export interface PayloadSource {
  /** Content of the file whose PAYLOAD item is at `position`, in pieces. Throws FormatError `format.pxar` when there is another one, and what reading throws. */
  content(position: number, size: number): AsyncIterable<Buffer>;
}

function checkPayloadHeader(header: Buffer, position: number, size: number): void {
  const { kind, length } = decodeItemHeader(header, 0);
  if (kind !== 'payload' || length !== size) throw pxarError(`payload at ${position} is not a file of ${size} bytes`);
}

function checkStart(header: Buffer): void {
  if (decodeItemHeader(header, 0).kind !== 'payloadStart') throw pxarError('payload archive has no start marker');
}

const pieceLength = 1024 * 1024;

/** A payload archive that can be read at any place. */
export class RandomPayload implements PayloadSource {
  readonly #readAt: ReadAt;
  readonly #length: number;
  #isChecked = false;

  /** `length`: bytes of the whole payload archive. */
  constructor(readAt: ReadAt, length: number) {
    this.#readAt = readAt;
    this.#length = length;
  }

  async *content(position: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    await this.check(position, size);
    for (let at = 0; at < size; at += pieceLength) yield await this.part(position, at, Math.min(pieceLength, size - at));
  }

  /** FormatError `format.pxar` when there is no content of that size at `position`. */
  async check(position: number, size: number): Promise<void> {
    if (!this.#isChecked) checkStart(await this.#read(0, itemHeaderLength));
    this.#isChecked = true;
    checkPayloadHeader(await this.#read(position, itemHeaderLength), position, size);
  }

  /** Bytes of the content at `position`, which was checked and has them. */
  async part(position: number, offset: number, length: number): Promise<Buffer> {
    return this.#read(position + itemHeaderLength + offset, length);
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    if (offset + length > this.#length) throw pxarError('payload lies behind the end of the payload archive');
    const bytes = await this.#readAt(offset, length);
    if (bytes.byteLength !== length) throw pxarError('payload archive is truncated');
    return Buffer.from(bytes.buffer, bytes.byteOffset, length);
  }
}

/** A payload archive that comes as a stream: contents are read in the order of the archive, what lies between is passed over (spec pxar 4.5). */
export class SequentialPayload implements PayloadSource {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #queue = new ByteQueue();
  #position = 0;
  #isStarted = false;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#pieces = stream[Symbol.asyncIterator]();
  }

  /** A content that is not read to its end is passed over by the next. */
  async *content(position: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    if (!this.#isStarted) checkStart(await this.#take(itemHeaderLength));
    this.#isStarted = true;
    if (position < this.#position) throw pxarError(`payload at ${position} lies before what was read already`);
    while (this.#position < position) await this.#some(position - this.#position);
    checkPayloadHeader(await this.#take(itemHeaderLength), position, size);
    for (let left = size; left > 0; ) {
      const bytes = await this.#some(left);
      left -= bytes.length;
      yield bytes;
    }
  }

  async #fill(): Promise<void> {
    const next = await this.#pieces.next();
    if (next.done === true) throw pxarError('payload archive is truncated');
    this.#queue.push(next.value);
  }

  async #some(limit: number): Promise<Buffer> {
    while (this.#queue.length === 0) await this.#fill();
    const bytes = this.#queue.takeSome(limit);
    this.#position += bytes.length;
    return bytes;
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#queue.length < length) await this.#fill();
    this.#position += length;
    return this.#queue.take(length);
  }
}
