import type { ArchiveAccessor, ArchiveChild, ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { ArchiveEvent } from '../pxar/archive-decoder.ts';
import { plainMetadata } from '../pxar/entry-metadata.ts';
import { decodeItemHeader, itemHeaderLength, pxarError } from '../pxar/item.ts';
import type { PayloadSource, ReadAt } from '../pxar/payload-source.ts';
import { joinPath } from './shown-path.ts';

const pieceLength = 1024 * 1024;

export interface SalvageHandlers {
  /** True: the error means that bytes of the archive are lost, and what needs them is passed over. */
  isLoss: (e: unknown) => boolean;
  /** Told of what is passed over: of the directory `path` its own metadata, an entry whose name is not known, with all that may be in it, or everything. */
  onLost: (path: Buffer, what: 'metadata' | 'entry' | 'contents', cause: unknown) => void;
}

/**
 * An archive of which parts may be lost, as events in its order, found through the tables of its directories instead of front to back (spec pxar 4.4).
 * Contents of all files are named by their place, to be read from `SalvagedPayload`. Throws what is no loss, and the loss of the root's table.
 */
export async function* salvageEvents(archive: ArchiveAccessor, handlers: SalvageHandlers): AsyncGenerator<ArchiveEvent, void, undefined> {
  const root = (await orLoss(() => archive.root(), handlers, Buffer.alloc(0), 'metadata')) ?? (await archive.rootWithout(plainMetadata({ mode: 0o40700, uid: process.getuid!(), gid: process.getgid!(), mtimeNs: 0n })));
  yield { kind: 'entry', entry: root.entry };
  yield* directoryEvents(archive, root, Buffer.alloc(0), handlers);
}

async function* directoryEvents(archive: ArchiveAccessor, directory: ArchiveDirectory, path: Buffer, handlers: SalvageHandlers): AsyncGenerator<ArchiveEvent, void, undefined> {
  for (const place of directory.placesInOrder()) {
    const child = await orLoss(() => directory.childAt(place), handlers, path, 'entry');
    if (child === null) continue;
    const { entry } = child;
    yield { kind: 'entry', entry: entry.type === 'file' && entry.payload === null ? { ...entry, payload: child.contentAt } : entry };
    if (entry.type === 'directory') yield* subdirectoryEvents(archive, child, joinPath(path, entry.name), handlers);
  }
  yield { kind: 'directory-end' };
}

async function* subdirectoryEvents(archive: ArchiveAccessor, child: ArchiveChild, path: Buffer, handlers: SalvageHandlers): AsyncGenerator<ArchiveEvent, void, undefined> {
  const directory = await orLoss(() => archive.open(child), handlers, path, 'contents');
  if (directory === null) yield { kind: 'directory-end' };
  else yield* directoryEvents(archive, directory, path, handlers);
}

async function orLoss<T>(read: () => Promise<T>, handlers: SalvageHandlers, path: Buffer, what: 'metadata' | 'entry' | 'contents'): Promise<T | null> {
  try {
    return await read();
  } catch (e) {
    if (!handlers.isLoss(e)) throw e;
    handlers.onLost(path, what, e);
    return null;
  }
}

/** Contents by their place: of a payload archive that of their item, of a unified archive that of their first byte. What else is lost of the archive does not matter. */
export class SalvagedPayload implements PayloadSource {
  readonly #readAt: ReadAt;
  readonly #length: number;
  readonly #headerLength: number;

  constructor(kind: 'unified' | 'payload', readAt: ReadAt, length: number) {
    this.#readAt = readAt;
    this.#length = length;
    this.#headerLength = kind === 'payload' ? itemHeaderLength : 0;
  }

  async *content(position: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    const start = position + this.#headerLength;
    if (start + size > this.#length) throw pxarError('content lies behind the end of the archive');
    if (this.#headerLength > 0) {
      const { kind, length } = decodeItemHeader(await this.#read(position, itemHeaderLength), 0);
      if (kind !== 'payload' || length !== size) throw pxarError(`payload at ${position} is not a file of ${size} bytes`);
    }
    for (let at = 0; at < size; at += pieceLength) yield await this.#read(start + at, Math.min(pieceLength, size - at));
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.#readAt(offset, length);
    if (bytes.byteLength !== length) throw pxarError('the archive is truncated');
    return Buffer.from(bytes.buffer, bytes.byteOffset, length);
  }
}
