import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { extractArchive } from '../../src/archive/extract-archive.ts';
import { FormatError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { ArchiveAccessor, type ArchiveChild, type ArchiveDirectory } from '../../src/pxar/archive-accessor.ts';
import { plainMetadata } from '../../src/pxar/entry-metadata.ts';
import { parseExcludeFile } from '../../src/pxar/exclude-file.ts';
import { RandomPayload } from '../../src/pxar/payload-source.ts';
import type { ArchiveEvent } from '../../src/pxar/archive-decoder.ts';
import { archiveEvents, encodeEvents, readerOf } from '../support/archive-events.ts';
import { goldenArchive, temporaryFolder } from '../support/golden.ts';
import { mutated } from './mutate.ts';

const seed = 20_261_125;

/** Result of `work`, undefined when it throws a FormatError; any other error fails the test. */
async function attempt<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (e) {
    if (e instanceof FormatError) return undefined;
    throw e;
  }
}

/** A small archive with some of everything, and the golden ones' heads. */
function smallArchive(): { unified: Buffer; split: Buffer; payload: Buffer } {
  const metadata = (mode: number): ReturnType<typeof plainMetadata> => plainMetadata({ mode, uid: 1, gid: 2, mtimeNs: 1_700_000_000_000_000_000n });
  const events: ArchiveEvent[] = [
    { kind: 'entry', entry: { type: 'directory', name: Buffer.alloc(0), position: 0, metadata: metadata(0o40755) } },
    { kind: 'entry', entry: { type: 'directory', name: Buffer.from('a'), position: 0, metadata: { ...metadata(0o40755), xattrs: [{ name: Buffer.from('user.x'), value: Buffer.from('y') }] } } },
    { kind: 'entry', entry: { type: 'file', name: Buffer.from('f'), position: 7, metadata: metadata(0o100644), size: 5, payload: null } },
    { kind: 'data', bytes: Buffer.from('hello') },
    { kind: 'file-end' },
    { kind: 'entry', entry: { type: 'hardlink', name: Buffer.from('h'), position: 0, target: 7, targetPath: Buffer.from('a/f') } },
    { kind: 'directory-end' },
    { kind: 'entry', entry: { type: 'symlink', name: Buffer.from('l'), position: 0, metadata: metadata(0o120777), target: Buffer.from('a/f') } },
    { kind: 'entry', entry: { type: 'fifo', name: Buffer.from('p'), position: 0, metadata: metadata(0o10600) } },
    { kind: 'directory-end' },
  ];
  const { archive, payload } = encodeEvents([{ kind: 'prelude', content: Buffer.from('{}') }, ...events], Buffer.alloc(0));
  return { unified: encodeEvents(events, null).archive, split: archive, payload };
}

async function walk(accessor: ArchiveAccessor, directory: ArchiveDirectory, budget: { entries: number }): Promise<void> {
  for await (const child of directory.children()) {
    budget.entries -= 1;
    // A table may name one directory many times; whoever walks bounds the walk.
    if (budget.entries < 0) return;
    await visit(accessor, child, budget);
  }
}

async function visit(accessor: ArchiveAccessor, child: ArchiveChild, budget: { entries: number }): Promise<void> {
  if (child.entry.type === 'directory') await walk(accessor, await accessor.open(child), budget);
  const file = child.entry.type === 'hardlink' ? await accessor.follow(child.entry) : child;
  if (file.entry.type !== 'file') return;
  for await (const piece of accessor.content(file)) if (piece.length === 0) throw new Error('an empty piece');
}

function seeds(): Buffer[] {
  const { unified, split } = smallArchive();
  return [unified, split, unified, split, goldenArchive('host/split/2025-10-09T08:55:00Z/root.mpxar.didx'), goldenArchive('ns/site-a/ns/dept-b/host/deep/2025-10-09T09:03:20Z/etc.pxar.didx')];
}

test('the decoder throws FormatError only, however the archive arrives', async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(mutated(seeds()), fc.integer({ min: 7, max: 5000 }), async (bytes, length) => {
      const whole = await attempt(() => archiveEvents(bytes));
      const pieces = await attempt(() => archiveEvents(bytes, length));
      assert.equal(whole === undefined, pieces === undefined);
      const contents = (events: ArchiveEvent[] | undefined): Buffer => Buffer.concat((events ?? []).flatMap((event) => (event.kind === 'data' ? [event.bytes] : [])));
      const entries = (events: ArchiveEvent[] | undefined): ArchiveEvent[] | undefined => events?.filter(({ kind }) => kind !== 'data');
      assert.deepEqual(entries(whole), entries(pieces));
      assert.ok(contents(whole).equals(contents(pieces)));
      accepted += Number(whole !== undefined);
    }),
    { seed, numRuns: 1500 },
  );
  assert.ok(accepted > 50, `${accepted} accepted`);
});

test('the accessor throws FormatError only and reads nothing outside', async () => {
  const { payload } = smallArchive();
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(mutated(seeds()), async (bytes) => {
      const accessor = new ArchiveAccessor(readerOf(bytes), bytes.length, { readAt: readerOf(payload), length: payload.length });
      const walked = await attempt(async () => {
        await walk(accessor, await accessor.root(), { entries: 300 });
        return true;
      });
      await attempt(() => accessor.lookup(Buffer.from('a/f')));
      await attempt(() => accessor.prelude());
      accepted += Number(walked === true);
    }),
    { seed, numRuns: 1500 },
  );
  assert.ok(accepted > 30, `${accepted} accepted`);
});

/** Everything below a folder that an extraction must not touch. */
function names(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'buffer' }).map((name) => name.toString('latin1')).toSorted();
}

test('extracting throws FormatError only, and writes nowhere but below the target', async () => {
  await using folder = await temporaryFolder();
  const { unified, split, payload } = smallArchive();
  const outside = join(folder.path, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'f'), 'untouched');
  let accepted = 0;
  let run = 0;
  await fc.assert(
    fc.asyncProperty(mutated([unified, split]), fc.boolean(), async (bytes, exists) => {
      run += 1;
      const target = join(folder.path, `to-${run}`);
      if (exists) {
        mkdirSync(target);
        symlinkSync(outside, join(target, 'a'));
        symlinkSync(join(outside, 'f'), join(target, 'l'));
      }
      const archive = (async function* () {
        yield bytes;
      })();
      const options = { allowExistingDirectories: true, overwrite: { files: true, symlinks: true, hardLinks: true }, onError: () => {}, features: { devices: false, flags: false } };
      const done = await attempt(async () => {
        await extractArchive({ archive, payload: new RandomPayload(readerOf(payload), payload.length), target, log: silentLog, ...options });
        return true;
      });
      accepted += Number(done === true);
      assert.deepEqual([names(outside), readFileSync(join(outside, 'f'), 'utf8'), names(folder.path).filter((name) => !/^(outside|to-\d+)(\/|$)/.test(name))], [['f'], 'untouched', []]);
      rmSync(target, { recursive: true, force: true });
    }),
    { seed, numRuns: 250 },
  );
  assert.ok(accepted > 3, `${accepted} accepted`);
});

test('.pxarexclude files of any bytes give patterns that can be matched', () => {
  const texts = ['*.tmp\n!/keep\n[a-z]*/\n', '/a/../b\n**/x\n#c\n[^[:alpha:]]\n'].map((text) => Buffer.from(text));
  fc.assert(
    fc.property(mutated(texts), fc.uint8Array({ maxLength: 40 }), (content, path) => {
      const { patterns, warnings } = parseExcludeFile(content, Buffer.from('dir'));
      for (const pattern of patterns) pattern.matchesPath(Buffer.from(path));
      return warnings.length >= 0;
    }),
    { seed, numRuns: 2000 },
  );
});
