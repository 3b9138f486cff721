import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Peer, runProgram, succeeded } from '../support/peer.ts';
import { describeTree, SeededRandom, testSeed, writeRandomTree } from '../support/random-tree.ts';
import { writeSpecialKinds } from '../support/special-kinds.ts';

const program = fileURLToPath(new URL('../../bin/farshore-pxar', import.meta.url));

test('farshore-pxar and pxar make the same archives, list them alike, and extract the other\'s', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  const at = (name: string): string => join(work, name);
  mkdirSync(at('tree'));
  writeRandomTree(at('tree'), seed);
  writeSpecialKinds(at('tree'), new SeededRandom(seed + 1));
  await using peer = await Peer.start();
  const theirs = async (argv: readonly string[], env: readonly string[] = []): Promise<string> => succeeded(await peer.exec(['env', 'TZ=UTC', ...env, 'pxar', ...argv]), `pxar ${argv.join(' ')}`);
  const ours = async (argv: readonly string[], env: Record<string, string> = {}): Promise<string> => succeeded(await runProgram(program, argv, { env: { TZ: 'UTC', ...env } }), `farshore-pxar ${argv.join(' ')}`);
  const same = (name: string, other: string): void => assert.ok(readFileSync(at(name)).equals(readFileSync(at(other))), `${name} and ${other}`);

  for (const [name, options] of [
    ['all', []],
    ['bare', ['--no-xattrs', '--exclude', '*.o', '--exclude', '!file-1', '--exclude', 'dir-2/']],
    ['some', ['--no-acls', '--no-fcaps', '--no-sockets']],
  ] as const) {
    await theirs(['create', at(`${name}-t.pxar`), at('tree'), ...options]);
    await ours(['create', at(`${name}-o.pxar`), at('tree'), ...options]);
    same(`${name}-o.pxar`, `${name}-t.pxar`);
    await theirs(['create', at(`${name}-t.mpxar`), at('tree'), '--payload-output', at(`${name}-t.ppxar`), ...options]);
    await ours(['create', at(`${name}-o.mpxar`), at('tree'), '--payload-output', at(`${name}-o.ppxar`), ...options]);
    same(`${name}-o.mpxar`, `${name}-t.mpxar`);
    same(`${name}-o.ppxar`, `${name}-t.ppxar`);
  }
  const split = [at('all-t.mpxar'), '--payload-input', at('all-t.ppxar')];
  for (const archive of [[at('all-t.pxar')], split]) {
    assert.equal(await ours(['list', ...archive]), await theirs(['list', ...archive]));
    assert.equal(await ours(['list', ...archive], { PXAR_LOG: 'debug' }), await theirs(['list', ...archive], ['PXAR_LOG=debug']));
  }
  for (const [name, archive] of [['unified', [at('all-t.pxar')]], ['split', split], ['few', [at('all-t.pxar'), '--no-xattrs', '--no-fifos', '--no-sockets', '--no-device-nodes', '--no-acls']], ['part', [at('all-t.pxar'), '--pattern', '**/file-*', '--pattern', '!/dir-1']]] as const) {
    await theirs(['extract', archive[0], at(`${name}-t`), ...archive.slice(1)]);
    await ours(['extract', archive[0], at(`${name}-o`), ...archive.slice(1)]);
    assert.deepEqual(describeTree(at(`${name}-o`)), describeTree(at(`${name}-t`)), name);
  }
});
