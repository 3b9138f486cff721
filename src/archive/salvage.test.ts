import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readerOf } from '../../test/support/archive-events.ts';
import { FormatError } from '../base/errors.ts';
import { ArchiveAccessor } from '../pxar/archive-accessor.ts';
import { ArchiveEncoder } from '../pxar/archive-encoder.ts';
import { plainMetadata } from '../pxar/entry-metadata.ts';
import { goodbyeRecordLength, itemHeaderLength } from '../pxar/item.ts';
import { salvageEvents } from './salvage.ts';

const metadata = (mode: number): ReturnType<typeof plainMetadata> => plainMetadata({ mode, uid: 0, gid: 0, mtimeNs: 0n });

/** `a/b/f`, and where the tables end. */
function nestedArchive(): { archive: Buffer; ends: number[] } {
  const pieces: Buffer[] = [];
  const encoder = new ArchiveEncoder({ archive: (bytes) => void pieces.push(Buffer.from(bytes)) }, metadata(0o40755));
  const ends: number[] = [];
  const end = (close: () => void): void => {
    close();
    encoder.flush();
    ends.push(Buffer.concat(pieces).length);
  };
  encoder.startDirectory(Buffer.from('a'), metadata(0o40755));
  encoder.startDirectory(Buffer.from('b'), metadata(0o40755));
  encoder.startFile(Buffer.from('f'), metadata(0o100644), 1);
  encoder.fileData(Buffer.from('x'));
  encoder.endFile();
  end(() => encoder.endDirectory());
  end(() => encoder.endDirectory());
  end(() => encoder.finish());
  return { archive: Buffer.concat(pieces), ends };
}

async function walked(archive: Buffer): Promise<number | 'damaged'> {
  let events = 0;
  try {
    for await (const _event of salvageEvents(new ArchiveAccessor(readerOf(archive), archive.length), { isLoss: () => false, onLost: () => assert.fail('nothing is lost') })) {
      events += 1;
      assert.ok(events < 100, 'the walk does not end');
    }
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    return 'damaged';
  }
  return events;
}

test('tables that lead back to a directory above, or anywhere else, are damage and no endless walk', async () => {
  const { archive, ends } = nestedArchive();
  assert.equal(await walked(archive), 7);
  let damaged = 0;
  for (const tableEnd of ends) {
    // The one record of the table, before its tail: hash, distance back from the table, size.
    const record = tableEnd - 2 * goodbyeRecordLength;
    const table = record - itemHeaderLength;
    for (let distance = 0; distance <= table + 8; distance += 1) {
      for (const end of ends) {
        const forged = Buffer.from(archive);
        forged.writeBigUInt64LE(BigInt(distance), record + 8);
        forged.writeBigUInt64LE(BigInt(Math.max(0, end - (table - distance))), record + 16);
        if ((await walked(forged)) === 'damaged') damaged += 1;
      }
    }
  }
  assert.ok(damaged > 1000, `${damaged}`);
});
