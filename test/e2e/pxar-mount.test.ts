import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { detachMount } from '../../src/sys/mount-point.ts';
import { fuseMissing, isMounted, runProcess, startProcess, until } from '../support/fuse.ts';
import { temporaryFolder } from '../support/golden.ts';
import { describeTree, testSeed, writeRandomTree } from '../support/random-tree.ts';

const program = fileURLToPath(new URL('../../bin/farshore-pxar', import.meta.url));

/** Names, kinds, modes and contents: what a mount shows of times and links is compared in the tests of `mount`. */
function shown(tree: string): string[] {
  return describeTree(tree).map((line) => `${line.split(' ').slice(0, 2).join(' ')} ${/ (\d+ [0-9a-f]{64})\b/.exec(line)?.[1] ?? ''}`);
}

test('farshore-pxar mounts both kinds of archives until they are unmounted or it is interrupted', { skip: fuseMissing() }, async (t) => {
  const folder = await temporaryFolder();
  t.after(() => folder[Symbol.asyncDispose]());
  const at = (name: string): string => join(folder.path, name);
  for (const name of ['tree', 'mnt']) mkdirSync(at(name));
  writeRandomTree(at('tree'), testSeed());
  const succeeded = async (...argv: string[]): Promise<void> => {
    const { code, stderr } = await runProcess(program, argv);
    assert.equal(code, 0, stderr);
  };
  await succeeded('create', at('t.pxar'), at('tree'));
  await succeeded('create', at('t.mpxar'), at('tree'), '--payload-output', at('t.ppxar'));
  for (const [end, argv] of [
    ['unmounted', [at('t.pxar')]],
    ['interrupted', [at('t.mpxar'), '--payload-input', at('t.ppxar')]],
  ] as const) {
    const mount = startProcess(program, ['mount', argv[0], at('mnt'), ...argv.slice(1)]);
    try {
      await until(() => isMounted(at('mnt')), 'the mount');
      assert.deepEqual(shown(at('mnt')), shown(at('tree')));
      if (end === 'unmounted') detachMount(at('mnt'));
      else mount.kill('SIGINT');
      const { code, stderr } = await mount.ended;
      if (end === 'unmounted') assert.deepEqual([code, stderr], [0, '']);
      assert.equal(isMounted(at('mnt')), false);
    } finally {
      mount.kill('SIGKILL');
      if (isMounted(at('mnt'))) detachMount(at('mnt'));
    }
  }
});
