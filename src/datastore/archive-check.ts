import { createHash } from 'node:crypto';
import { toHex } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { archiveKind } from '../format/backup-path.ts';
import { IndexEntryDecoder, type IndexKind } from '../format/chunk-index.ts';
import { streamFile } from './file-read.ts';

/** What a manifest says of a file (spec formats 5.2). */
export interface ArchiveContent {
  /** Index: logical bytes of the archive. Blob: bytes of the file. */
  size: number;
  /** 64 lowercase hex digits. Index: checksum of its entries. Blob: SHA-256 of the file. */
  csum: string;
}

/**
 * What a file that is there holds, computed from its bytes in constant memory; nothing that its header claims is believed.
 * `filename` says what it is, since `path` may be a temporary one. Throws FormatError for an index that is none, StoreError `store.missing`.
 */
export async function archiveContent(path: string, filename: string): Promise<ArchiveContent> {
  const kind = archiveKind(filename);
  return kind === 'blob' ? blobContent(path) : indexContent(path, kind);
}

async function blobContent(path: string): Promise<ArchiveContent> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const piece of streamFile(path)) {
    hash.update(piece);
    size += piece.byteLength;
  }
  return { size, csum: hash.digest('hex') };
}

async function indexContent(path: string, kind: IndexKind): Promise<ArchiveContent> {
  const decoder = new IndexEntryDecoder(kind);
  for await (const piece of streamFile(path)) decoder.push(piece);
  const { size, csum } = decoder.finish();
  return { size, csum: toHex(csum) };
}

/** Throws FormatError with the reference's words (spec retention 6.3) when `found` is not what the manifest says. */
export function compareArchiveContent(expected: ArchiveContent, found: ArchiveContent): void {
  if (found.size !== expected.size) throw new FormatError('format.archive-size', `wrong size (${expected.size} != ${found.size})`);
  if (found.csum !== expected.csum) throw new FormatError('format.archive-csum', 'wrong index checksum');
}

/** Checks the file at `path`, an index or blob by `filename`, against its entry in a manifest. Throws FormatError; StoreError `store.missing`. */
export async function checkArchive(path: string, filename: string, expected: ArchiveContent): Promise<void> {
  compareArchiveContent(expected, await archiveContent(path, filename));
}

/** As `checkArchive`, for an index under any name. */
export async function checkIndexFile(path: string, kind: IndexKind, expected: ArchiveContent): Promise<void> {
  compareArchiveContent(expected, await indexContent(path, kind));
}
