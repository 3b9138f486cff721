import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createArchive } from '../../src/archive/create-archive.ts';
import { extractArchive } from '../../src/archive/extract-archive.ts';
import { toHex } from '../../src/base/bytes.ts';
import { errorChain } from '../../src/base/errors.ts';
import { silentLog, type ProgressLog } from '../../src/base/log.ts';
import { BuzhashChunker } from '../../src/chunking/stream-chunker.ts';
import { CatalogEncoder } from '../../src/format/catalog.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { ArchiveAccessor } from '../../src/pxar/archive-accessor.ts';
import type { ArchiveEvent } from '../../src/pxar/archive-decoder.ts';
import { SequentialPayload } from '../../src/pxar/payload-source.ts';
import { archiveEvents, readerOf } from '../support/archive-events.ts';
import { goldenArchive, goldenFile, goldenKey, readFixture } from '../support/golden.ts';
import { recordedTree, recordTree, treeDifferences, type RecordedEntry } from '../support/recorded-tree.ts';
import { createUnifiedArchive, inPieces, SplitArchive } from '../support/split-archive.ts';

const isRoot = process.getuid!() === 0;

/** Attributes are not archived from a tmpfs (spec pxar 5.2): the trees lie elsewhere. */
function workFolder(): string {
  const tmpfs = 0x01021994;
  const base = [tmpdir(), '/var/tmp'].find((path) => statfsSync(path).type !== tmpfs);
  assert.ok(base !== undefined, 'needs a temporary folder that is no tmpfs');
  return mkdtempSync(join(base, 'farshore-archives-'));
}

const work = workFolder();
after(() => rmSync(work, { recursive: true, force: true }));

const plain = 'host/plain/2025-10-10T08:53:20Z';
const crypt = 'host/crypt/2025-10-10T08:56:40Z';
const firstSplit = 'host/split/2025-10-09T08:55:00Z';
const secondSplit = 'host/split/2025-10-10T09:53:20Z';

interface GoldenTree {
  archive: Buffer;
  payload: Buffer | null;
}

function splitTree(snapshot: string): GoldenTree {
  return { archive: goldenArchive(`${snapshot}/root.mpxar.didx`), payload: goldenArchive(`${snapshot}/root.ppxar.didx`) };
}

/** Restores into a new folder; what an ordinary user may not do, and nothing else, is passed over. */
async function restored(name: string, { archive, payload }: GoldenTree): Promise<string> {
  const target = join(work, name);
  await extractArchive({
    archive: inPieces(archive),
    ...(payload === null ? {} : { payload: new SequentialPayload(inPieces(payload)) }),
    target,
    log: silentLog,
    onError: (error) => {
      if (isRoot || !/set ownership|extract device: EPERM|set file capabilities: EPERM|set extended attribute "trusted|set extended attribute "security/.test(errorChain(error))) throw error;
    },
  });
  return target;
}

/** What an ordinary user gets of an entry: no foreign owner, no devices, no privileged attributes. */
function ownEntry(entry: RecordedEntry): RecordedEntry | null {
  if (isRoot) return entry;
  if (entry.type === 'block' || entry.type === 'char') return null;
  const own: RecordedEntry = { ...entry, uid: 0, gid: 0 };
  const xattrs = Object.entries(entry.xattrsHex ?? {}).filter(([name]) => !/^(trusted|security)\./.test(name));
  delete own.xattrsHex;
  if (xattrs.length > 0) own.xattrsHex = Object.fromEntries(xattrs);
  return own;
}

function ownTree(tree: ReadonlyMap<string, RecordedEntry>): Map<string, RecordedEntry> {
  return new Map([...tree.values()].flatMap((entry) => ownEntry(entry) ?? []).map((entry) => [entry.path, entry]));
}

/** Events as far as an ordinary user's archive can have them. */
function ownEvents(events: readonly ArchiveEvent[]): unknown[] {
  return events.flatMap((event): unknown[] => {
    if (event.kind === 'data' || event.kind === 'file-end') return [];
    if (event.kind !== 'entry') return [event];
    const { position: _position, ...entry } = event.entry;
    if (entry.type === 'device') return [];
    if (entry.type === 'hardlink') return [{ ...entry, target: 0 }];
    // Nor is it read when its mode keeps its owner out.
    if (!isRoot && entry.type === 'file' && (entry.metadata.mode & 0o400) === 0) return [];
    const metadata = { ...entry.metadata, uid: 0, gid: 0, fileCapabilities: null, xattrs: entry.metadata.xattrs.filter(({ name }) => name.toString().startsWith('user.')) };
    return [{ ...entry, metadata, ...(entry.type === 'file' ? { payload: 0 } : {}) }];
  });
}

function assertSameArchive(actual: Buffer, expected: Buffer): void {
  if (isRoot) assert.ok(actual.equals(expected));
  assert.deepEqual(ownEvents(archiveEvents(actual)), ownEvents(archiveEvents(expected)));
}

/** Digest and end of every chunk that the stream is cut into: what its index says, and so the index's checksum. */
function chunksOf(stream: Buffer, digest: (chunk: Buffer) => Uint8Array): string[] {
  const chunker = new BuzhashChunker();
  const chunks = chunker.push(stream);
  const last = chunker.finish();
  if (last !== null) chunks.push(last);
  let end = 0;
  return chunks.map((chunk) => `${toHex(digest(chunk))} ${(end += chunk.length)}`);
}

function indexedChunks(name: string): string[] {
  return [...ChunkIndex.parse('dynamic', goldenFile(name)).entries()].map(({ digest, end }) => `${toHex(digest)} ${end}`);
}

const sha256 = (chunk: Buffer): Buffer => createHash('sha256').update(chunk).digest();

test('the golden trees come back as the reference restores them, and archived again they are the same bytes', async (t) => {
  const key = await goldenKey('kdf-scrypt');
  const trees = [
    { name: 'plain', snapshot: plain, crypt: undefined, digest: sha256 },
    { name: 'crypt', snapshot: crypt, crypt: key, digest: (chunk: Buffer) => key.digest(chunk) },
  ];
  for (const tree of trees) {
    await t.test(tree.name, async () => {
      const archive = goldenArchive(`${tree.snapshot}/root.pxar.didx`, tree.crypt);
      const target = await restored(tree.name, { archive, payload: null });
      assert.deepEqual(treeDifferences(ownTree(recordTree(target)), ownTree(recordedTree(readFixture(`expected/${tree.name}.json`)))), []);
      const parts: Buffer[] = [];
      const catalog = new CatalogEncoder((bytes) => parts.push(bytes));
      catalog.startDirectory(Buffer.from('root.pxar.didx'));
      const again = await createUnifiedArchive(target, { catalog });
      catalog.endDirectory();
      catalog.finish();
      assertSameArchive(again, archive);
      if (!isRoot) return;
      assert.deepEqual(chunksOf(again, tree.digest), indexedChunks(`${tree.snapshot}/root.pxar.didx`));
      assert.ok(Buffer.concat(parts).equals(goldenArchive(`${tree.snapshot}/catalog.pcat1.didx`, tree.crypt)));
    });
  }
});

test('split archives: restored, archived again as new, and with unchanged files reused', async () => {
  const first = splitTree(firstSplit);
  const firstTarget = await restored('first', first);
  const asNew = new SplitArchive(new Map(), 4 * 1024 * 1024);
  await createArchive({ source: firstTarget, sinks: asNew.sinks, log: silentLog });
  asNew.finish();
  assertSameArchive(asNew.archive, first.archive);
  if (isRoot) {
    assert.ok(asNew.payload.equals(first.payload!));
    assert.deepEqual(asNew.entries.map(({ digest, end }) => `${toHex(digest)} ${end}`), indexedChunks(`${firstSplit}/root.ppxar.didx`));
  }

  const second = splitTree(secondSplit);
  const target = await restored('second', second);
  assert.deepEqual(treeDifferences(ownTree(recordTree(target)), ownTree(recordedTree(readFixture('expected/split.json')))), []);
  const lines: string[] = [];
  const log: ProgressLog = { ...silentLog, info: (line) => lines.push(line) };
  const reusing = new SplitArchive(new Map(), 4 * 1024 * 1024);
  const payloadIndex = ChunkIndex.parse('dynamic', goldenFile(`${firstSplit}/root.ppxar.didx`));
  await createArchive({ source: target, sinks: reusing.sinks, previous: { accessor: new ArchiveAccessor(readerOf(first.archive), first.archive.length), payloadIndex }, log });
  reusing.finish();
  assertSameArchive(reusing.archive, second.archive);
  if (!isRoot) return;
  // The same decisions as the reference: the same chunks at the same places.
  assert.deepEqual(reusing.entries.map(({ digest, end }) => `${toHex(digest)} ${end}`), indexedChunks(`${secondSplit}/root.ppxar.didx`));
  assert.deepEqual(chunksOf(reusing.archive, sha256), indexedChunks(`${secondSplit}/root.mpxar.didx`));
  assert.equal(reusing.uploaded, 3);
  assert.deepEqual(lines.slice(1), [' - 431 total files (1 hardlinks)', ' - 429 unchanged, reusable files with 21.019 MiB data', ' - 1 changed or non-reusable files with 488.297 KiB data', ' - 1 MiB padding in 4 partially reused chunks']);
});
