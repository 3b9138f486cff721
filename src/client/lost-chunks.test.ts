import assert from 'node:assert/strict';
import { mkdirSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { BackupGround } from '../../test/support/backup-ground.ts';
import { noise } from '../../test/support/made-snapshots.ts';
import { describeTree } from '../../test/support/random-tree.ts';
import { toHex } from '../base/bytes.ts';
import { ChunkIndex, type IndexKind } from '../format/chunk-index.ts';

/** Chunks of an archive on the server, which are taken away or damaged one after another. */
class StoredChunks {
  readonly index: ChunkIndex;
  readonly #store: string;

  constructor(ground: BackupGround, snapshot: string, archive: string, kind: IndexKind) {
    this.#store = ground.server.path;
    this.index = ChunkIndex.parse(kind, readFileSync(join(this.#store, snapshot, archive)));
  }

  /** Runs `work` while the chunk is lost. */
  async without(number: number, how: 'damaged' | 'missing', work: (digest: string) => Promise<void>): Promise<void> {
    const digest = toHex(this.index.digest(number));
    const path = join(this.#store, '.chunks', digest.slice(0, 4), digest);
    const whole = readFileSync(path);
    if (how === 'missing') rmSync(path);
    else writeFileSync(path, Buffer.from(whole).fill(whole.at(-1)! ^ 1, whole.length - 1));
    await work(digest);
    writeFileSync(path, whole);
  }
}

function makeTree(path: string): void {
  for (const folder of ['', 'a', 'a/deep', 'b']) mkdirSync(join(path, folder), { recursive: true });
  for (let i = 0; i < 4; i += 1) {
    writeFileSync(join(path, 'a', `large-${i}`), noise(`large-${i}`, 150_000));
    for (let j = 0; j < 8; j += 1) writeFileSync(join(path, i % 2 === 0 ? 'a/deep' : 'b', `small-${i}-${j}`), noise(`small-${i}-${j}`, 3000));
  }
  linkSync(join(path, 'a', 'large-3'), join(path, 'b', 'linked'));
  writeFileSync(join(path, 'last'), noise('last', 100_000));
}

/** Path of a line of `describeTree`. */
function pathOf(line: string): string {
  return line.split(' ')[0]!.slice(2);
}

suite('a lost chunk: what is lost is said, and the rest is restored if so wished', () => {
  for (const mode of ['legacy', 'data']) {
    test(`directory tree, ${mode}`, async (t) => {
      const ground = await BackupGround.make(t);
      const [tree, target] = [ground.path('tree'), ground.path('restored')];
      makeTree(tree);
      const backup = await ground.backUp([`root.pxar:${tree}`, '--change-detection-mode', mode, '--chunk-size', '64']);
      assert.equal(backup.exit, 0, backup.stderr);
      const whole = new Set(describeTree(tree));
      const chunks = new StoredChunks(ground, backup.snapshot, mode === 'legacy' ? 'root.pxar.didx' : 'root.ppxar.didx', 'dynamic');
      assert.ok(chunks.index.count > 5, `${chunks.index.count} chunks`);
      let named = 0;
      for (let number = 0; number < chunks.index.count; number += 1) {
        const how = number % 2 === 0 ? 'damaged' : 'missing';
        await chunks.without(number, how, async (digest) => {
          const what = `chunk ${number} ${how}`;
          const plain = await ground.home.run(['restore', backup.snapshot, 'root.pxar', target]);
          assert.equal(plain.exit, 255, what);
          const file = /error at entry "([^"]+)"/.exec(plain.stderr)?.[1];
          if (file !== undefined) named += 1;
          rmSync(target, { recursive: true, force: true });
          const run = await ground.home.run(['restore', backup.snapshot, 'root.pxar', target, '--ignore-missing-chunks', '--ignore-corrupt-chunks']);
          // Without the root's table, which is in the last chunk of a unified archive, nothing is found.
          if (mode === 'legacy' && number === chunks.index.count - 1) {
            assert.equal(run.exit, 255);
            return;
          }
          assert.equal(run.exit, 0, `${what}\n${run.stderr}`);
          assert.match(run.stderr, new RegExp(how === 'damaged' ? digest : 'No such file'), what);
          const restored = new Set(describeTree(target));
          const warned = [...run.stderr.matchAll(/^WARNING: (.*?) (?:is|are) lost: /gm)].map(([, words]) => words!);
          assert.ok(warned.length > 0, what);
          const isSaid = (line: string): boolean => {
            const path = pathOf(line);
            const folder = path.split('/').slice(0, -1).join('/');
            const ofFolder = (words: string): boolean => {
              const [, all, above] = /^(?:an (entry) in|all entries in) "(.*?)"/.exec(words) ?? [];
              return above !== undefined && (above === '' || folder === above || (all === undefined ? path : folder).startsWith(`${above}/`));
            };
            return path === '' || warned.some((words) => words === `"${path}"` || ofFolder(words));
          };
          // A folder whose table is lost has no other metadata than before; a file that lost a name has one link less.
          for (const line of whole.difference(restored)) assert.ok(isSaid(line) || [...restored].some((one) => pathOf(one) === pathOf(line)), `${what}: ${line}\n${run.stderr}`);
          if (file !== undefined && how === 'damaged') assert.ok(warned.includes(`"${file}"`) || warned.some((words) => words.includes('entr')), `${what}: ${file}\n${run.stderr}`);
          rmSync(target, { recursive: true, force: true });
        });
      }
      assert.ok(named >= chunks.index.count / 2, `${named} of ${chunks.index.count} named a file`);
    });
  }

  test('image: zeros take its place; without the option there is no file', async (t) => {
    const ground = await BackupGround.make(t);
    const image = noise('image', 3 * 4 * 1024 * 1024 + 1000);
    writeFileSync(ground.path('disk'), image);
    const backup = await ground.backUp([`disk.img:${ground.path('disk')}`]);
    const chunks = new StoredChunks(ground, backup.snapshot, 'disk.img.fidx', 'fixed');
    for (const [how, option] of [['damaged', '--ignore-corrupt-chunks'], ['missing', '--ignore-missing-chunks']] as const) {
      await chunks.without(1, how, async () => {
        const target = ground.path(how);
        // The other kind of loss is none that was to be ignored.
        const other = how === 'damaged' ? '--ignore-missing-chunks' : '--ignore-corrupt-chunks';
        for (const options of [[], [other]]) assert.equal((await ground.home.run(['restore', backup.snapshot, 'disk.img', target, ...options])).exit, 255);
        const run = await ground.home.run(['restore', backup.snapshot, 'disk.img', target, option]);
        assert.equal(run.exit, 0, run.stderr);
        assert.match(run.stderr, /^WARNING: bytes 4194304 to 8388607 of disk\.img\.fidx are lost, zeros take their place: /m);
        assert.ok(readFileSync(target).equals(Buffer.from(image).fill(0, 4_194_304, 8_388_608)));
      });
    }
  });
});
