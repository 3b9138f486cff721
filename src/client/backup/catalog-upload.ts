import { humanSize } from '../../base/human-size.ts';
import { DigestSet } from '../../base/digest-set.ts';
import { BuzhashChunker, catalogChunkSize } from '../../chunking/stream-chunker.ts';
import { CatalogEncoder } from '../../format/catalog.ts';
import { catalogFileName } from '../../format/backup-path.ts';
import type { ManifestFile } from '../../format/manifest.ts';
import { IndexUploader } from '../../protocol/index-uploader.ts';
import { contentKey, indexEntry, type BackupParts } from './parts.ts';
import { ChunkedSink } from './chunked-sinks.ts';

/** The one catalog of a backup, written while its archives are (spec catalog 3). */
export class CatalogUpload {
  readonly encoder: CatalogEncoder;
  readonly #parts: BackupParts;
  readonly #sink: ChunkedSink;
  #waiting: Buffer[] = [];

  private constructor(parts: BackupParts, sink: ChunkedSink) {
    this.#parts = parts;
    this.#sink = sink;
    this.encoder = new CatalogEncoder((bytes) => void this.#waiting.push(bytes));
  }

  static async open(parts: BackupParts): Promise<CatalogUpload> {
    const upload = await IndexUploader.open(parts.client, { kind: 'dynamic', archiveName: catalogFileName, known: new DigestSet(), crypt: contentKey(parts.request.protection) });
    return new CatalogUpload(parts, new ChunkedSink(upload, new BuzhashChunker(catalogChunkSize)));
  }

  /** Hands on what was encoded: to be called now and then, so that it does not heap up. */
  async drain(): Promise<void> {
    for (const bytes of this.#waiting.splice(0)) await this.#sink.write(bytes);
  }

  /** Every archive has been closed in it. */
  async finish(): Promise<ManifestFile> {
    this.encoder.finish();
    await this.drain();
    const summary = await this.#sink.finish();
    this.#parts.context.stderr.write(`Uploaded backup catalog (${humanSize(summary.size)})\n`);
    return indexEntry(catalogFileName, summary, this.#parts.request);
  }
}
