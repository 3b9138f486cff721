import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { encodeBlob, maxChunkEncodedSize } from '../format/data-blob.ts';
import { UploadIntake, type AnnouncedChunk } from './chunk-upload.ts';

interface Body {
  readonly started: boolean;
  end(): void;
  result: Promise<unknown>;
}

/** An upload that announces the largest chunk and sends nothing until it ends. */
function silentUpload(intake: UploadIntake, signal = new AbortController().signal): Body {
  let started = false;
  const body = new Readable({
    read() {
      started = true;
    },
  });
  const announced: AnnouncedChunk = { digest: Buffer.alloc(32), size: 1, encodedSize: maxChunkEncodedSize };
  const result = intake.chunk({ body, signal, log: silentLog }, announced, () => Promise.resolve()).catch((e: unknown) => e);
  return {
    get started() {
      return started;
    },
    end: () => void body.push(null),
    result,
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('of many announced bodies only as many are read at a time as the budget holds, in order', async () => {
  const intake = new UploadIntake();
  const leaving = new AbortController();
  const uploads = Array.from({ length: 200 }, (_, i) => silentUpload(intake, i === 4 ? leaving.signal : undefined));
  const reading = (): number[] => uploads.flatMap((upload, i) => (upload.started ? [i] : []));
  await settled();
  assert.deepEqual(reading(), [0, 1, 2]);
  uploads[1]!.end();
  assert.match(String(await uploads[1]!.result), /uploaded chunk has unexpected size/);
  await settled();
  assert.deepEqual(reading(), [0, 1, 2, 3]);
  // Who was reset while it waited takes nothing away from the others.
  leaving.abort();
  uploads[0]!.end();
  await settled();
  assert.deepEqual(reading(), [0, 1, 2, 3, 5]);
  assert.equal((await uploads[4]!.result) instanceof Error, true);
});

test('a chunk that decodes to much more than any chunk is refused', async () => {
  const bomb = encodeBlob(Buffer.alloc(17 * 1024 * 1024), { compress: true });
  const announced: AnnouncedChunk = { digest: createHash('sha256').update(Buffer.alloc(17 * 1024 * 1024)).digest(), size: 16 * 1024 * 1024, encodedSize: bomb.length };
  const exchange = { body: Readable.from([bomb]), signal: new AbortController().signal, log: silentLog };
  await assert.rejects(new UploadIntake().chunk(exchange, announced, () => assert.fail('it was stored')), { status: 400, message: /holds more than 16777216 bytes/ });
});
