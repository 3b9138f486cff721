import { FormatError } from '../../base/errors.ts';
import { abortable } from '../../client/abortable.ts';
import { throwIfAborted } from '../../base/async.ts';
import { formatHumanByte } from '../../format/human-byte.ts';
import { ArchiveDecoder, type ArchiveEvent } from '../../pxar/archive-decoder.ts';
import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { decodeItemHeader } from '../../pxar/item.ts';
import { leveledLog, showsLevel } from '../../terminal/log-level.ts';
import { ArchiveInput } from './archive-input.ts';
import { longLine, shortLine } from './list-line.ts';
import type { PxarIo } from './pxar-io.ts';

/** Names of the directories that the stream is in, to the path of an entry. */
class Path {
  readonly #names: Buffer[] = [];

  /** `/` and names joined by it. */
  of(entry: ArchiveEntry): Buffer {
    const names = [...this.#names.slice(1), ...(this.#names.length === 0 ? [] : [entry.name])];
    return names.length === 0 ? Buffer.from('/') : Buffer.concat(names.flatMap((name) => [Buffer.from('/'), name]));
  }

  enter(name: Buffer): void {
    this.#names.push(name);
  }

  leave(): void {
    this.#names.pop();
  }
}

/**
 * `pxar list` (spec client-cli 10): a path a line, at log level `debug` with metadata. Of a file that can be sought contents are not read. StoreError
 * `store.source`, FormatError, AbortedError.
 */
export async function listPxar(archivePath: string, payloadPath: string | null, io: PxarIo): Promise<void> {
  if (archivePath.endsWith('.mpxar') && payloadPath === null) throw new FormatError('format.pxar', 'Payload input required for split pxar archives', { hint: 'give --payload-input FILE' });
  await abortable(io.interrupts, async (signal) => {
    await using archive = await ArchiveInput.open(archivePath, io.stdin);
    await using payload = payloadPath === null ? null : await ArchiveInput.open(payloadPath, io.stdin);
    const start = (await payload?.head()) ?? Buffer.alloc(0);
    if (start.length > 0 && decodeItemHeader(start, 0).kind !== 'payloadStart') throw new FormatError('format.pxar', `${payloadPath} is no payload archive`);
    const isLong = showsLevel(io.logLevel, 'debug');
    const log = leveledLog(io.stderr, io.logLevel);
    const decoder = new ArchiveDecoder();
    const path = new Path();
    const take = (event: ArchiveEvent): void => {
      if (event.kind === 'prelude') log.debug(`pxar format version 'Version2'\nprelude of size ${formatHumanByte(event.content.length)}`);
      if (event.kind === 'directory-end') path.leave();
      if (event.kind !== 'entry') return;
      const { entry } = event;
      io.stdout.write(`${isLong ? longLine(path.of(entry), entry) : shortLine(path.of(entry))}\n`);
      if (entry.type === 'directory') path.enter(entry.name);
    };
    for await (const bytes of archive.stream(() => decoder.passOver())) {
      for (const event of decoder.push(bytes)) take(event);
      throwIfAborted(signal);
    }
    for (const event of decoder.push(Buffer.alloc(0))) take(event);
    decoder.finish();
  });
}
