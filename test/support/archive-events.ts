import { ArchiveDecoder, type ArchiveEvent } from '../../src/pxar/archive-decoder.ts';
import { ArchiveEncoder } from '../../src/pxar/archive-encoder.ts';
import type { ReadAt } from '../../src/pxar/payload-source.ts';

/** All events of a whole archive, given to the decoder in pieces of `pieceLength`. */
export function archiveEvents(archive: Buffer, pieceLength = archive.length): ArchiveEvent[] {
  const decoder = new ArchiveDecoder();
  const events: ArchiveEvent[] = [];
  for (let at = 0; at < archive.length; at += pieceLength) events.push(...decoder.push(archive.subarray(at, at + pieceLength)));
  decoder.finish();
  return events;
}

/** Reads from memory; asked for bytes outside it fails the test. */
export function readerOf(bytes: Buffer): ReadAt {
  return (offset, length) => {
    if (offset < 0 || length < 0 || offset + length > bytes.length) throw new Error(`read of ${length} at ${offset} of ${bytes.length} bytes`);
    return Promise.resolve(bytes.subarray(offset, offset + length));
  };
}

export interface EncodedArchive {
  archive: Buffer;
  payload: Buffer;
}

/** Encodes what `events` say, as new content; `payload` holds the contents of a split archive. */
export function encodeEvents(events: readonly ArchiveEvent[], payload: Buffer | null): EncodedArchive {
  const [archive, payloads]: [Buffer[], Buffer[]] = [[], []];
  const prelude = events[0]?.kind === 'prelude' ? events[0].content : null;
  let encoder: ArchiveEncoder | undefined;
  let depth = 0;
  const files = new Map<number, number>();
  for (const event of events) {
    if (event.kind === 'data') encoder!.fileData(event.bytes);
    else if (event.kind === 'file-end') encoder!.endFile();
    else if (event.kind === 'directory-end') {
      depth -= 1;
      if (depth === 0) encoder!.finish();
      else encoder!.endDirectory();
    }
    if (event.kind !== 'entry') continue;
    const { entry } = event;
    if (entry.type === 'directory') {
      depth += 1;
      if (encoder !== undefined) encoder.startDirectory(entry.name, entry.metadata);
      else encoder = new ArchiveEncoder({ archive: (bytes) => archive.push(bytes), ...(payload === null ? {} : { payload: (bytes: Buffer) => payloads.push(bytes) }) }, entry.metadata, prelude);
      continue;
    }
    if (encoder === undefined) throw new Error('the first entry is not a directory');
    if (entry.type === 'file') {
      files.set(entry.position, encoder.startFile(entry.name, entry.metadata, entry.size));
      if (entry.payload === null) continue;
      encoder.fileData(payload!.subarray(entry.payload + 16, entry.payload + 16 + entry.size));
      encoder.endFile();
    } else if (entry.type === 'symlink') encoder.symlink(entry.name, entry.metadata, entry.target);
    else if (entry.type === 'device') encoder.device(entry.name, entry.metadata, entry);
    else if (entry.type === 'hardlink') encoder.hardLink(entry.name, files.get(entry.target)!, entry.targetPath);
    else encoder.special(entry.name, entry.metadata);
  }
  return { archive: Buffer.concat(archive), payload: Buffer.concat(payloads) };
}
