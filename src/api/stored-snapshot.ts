import { Readable } from 'node:stream';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorCode, StoreError } from '../base/errors.ts';
import { archiveKind } from '../format/backup-path.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { openRegularFile, streamOpenFile } from '../datastore/file-read.ts';
import { openIndexFile, type IndexFile } from '../datastore/index-file.ts';
import type { SnapshotReader } from '../datastore/snapshot-reader.ts';
import type { ReadableSnapshot, SnapshotFile } from '../protocol/reader-session.ts';

/** A snapshot of a datastore as a reader session sees it: files and chunks exactly as stored, never more than a piece of them in memory. */
export class StoredSnapshot implements ReadableSnapshot {
  readonly storePath: string;
  readonly path: string;
  readonly #store: Datastore;
  readonly #reader: SnapshotReader;

  /** `reader` is closed by the caller, after the last use of this. */
  constructor(store: Datastore, reader: SnapshotReader) {
    this.storePath = store.path;
    this.path = reader.path;
    this.#store = store;
    this.#reader = reader;
  }

  async open(fileName: string): Promise<SnapshotFile | null> {
    const path = this.#reader.filePath(fileName);
    const index = archiveKind(fileName) === 'blob' ? null : await ifThere(openIndexFile(path));
    try {
      const file = await ifThere(openRegularFile(path));
      if (file === null) {
        await index?.close();
        return null;
      }
      return {
        path,
        digests: () => digestsOf(index!),
        stream: () => Readable.from(streamOpenFile(file.handle, path), { objectMode: false, highWaterMark: 1 }),
        close: async () => {
          await index?.close();
          await file.handle.close();
        },
      };
    } catch (e) {
      await index?.close();
      throw e;
    }
  }

  async readChunk(digest: Digest): Promise<Buffer> {
    try {
      return await this.#store.chunks.read(digest);
    } catch (e) {
      if (errorCode(e) !== 'store.chunk-missing') throw e;
      const hex = toHex(digest);
      throw new StoreError('store.chunk-missing', `reading file ${JSON.stringify(`${this.storePath}/.chunks/${hex.slice(0, 4)}/${hex}`)} failed: No such file or directory (os error 2)`);
    }
  }
}

/** Null for what is missing. */
export async function ifThere<T>(opening: Promise<T>): Promise<T | null> {
  try {
    return await opening;
  } catch (e) {
    if (errorCode(e) === 'store.missing') return null;
    throw e;
  }
}

async function* digestsOf(index: IndexFile): AsyncGenerator<Buffer, void> {
  for await (const batch of index.batches()) yield Buffer.concat(batch.map((entry) => entry.digest));
}
