import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFileSync, chmodSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ClientHome } from '../../../test/support/client-runs.ts';
import { clientServer, type ClientServer } from '../../../test/support/client-server.ts';
import { fixturePath, goldenPassphrase } from '../../../test/support/golden.ts';
import { toHex } from '../../base/bytes.ts';
import { ChunkIndex } from '../../format/chunk-index.ts';

interface Change {
  change: string;
  path: string;
  filepath: string;
  fields?: string[];
  content?: string;
}

const times = [1_760_000_000, 1_760_000_100] as const;

function snapshot(id: string, which: 0 | 1): string {
  return `host/${id}/${new Date(times[which] * 1000).toISOString().replace('.000', '')}`;
}

function writeTree(tree: string): void {
  mkdirSync(join(tree, 'same/below'), { recursive: true });
  mkdirSync(join(tree, 'gone/below'), { recursive: true });
  for (const name of ['same/a', 'same/below/b', 'gone/x', 'gone/below/y', 'mode', 'time', 'text', 'kind', 'hidden']) writeFileSync(join(tree, name), `${name}\n`);
  writeFileSync(join(tree, 'large'), randomBytes(6 * 1024 * 1024));
  symlinkSync('one', join(tree, 'link'));
  linkSync(join(tree, 'text'), join(tree, 'z-hard'));
  for (const name of ['time', 'hidden', 'mode']) utimesSync(join(tree, name), 1_600_000_000, 1_600_000_000);
}

function changeTree(tree: string): void {
  rmSync(join(tree, 'gone'), { recursive: true });
  mkdirSync(join(tree, 'new'));
  writeFileSync(join(tree, 'new/n'), 'n');
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/new/`), Buffer.from('ff0a', 'hex')]), 'odd name');
  chmodSync(join(tree, 'mode'), 0o600);
  utimesSync(join(tree, 'time'), 1_600_000_001, 1_600_000_001);
  appendFileSync(join(tree, 'text'), 'more');
  // Other bytes, the same size and time.
  writeFileSync(join(tree, 'hidden'), 'HIDDEN\n');
  utimesSync(join(tree, 'hidden'), 1_600_000_000, 1_600_000_000);
  unlinkSync(join(tree, 'link'));
  symlinkSync('two', join(tree, 'link'));
  unlinkSync(join(tree, 'kind'));
  mkdirSync(join(tree, 'kind'));
}

async function ground(t: TestContext): Promise<{ server: ClientServer; home: ClientHome; tree: string }> {
  const server = await clientServer(t, { own: true });
  const home = await ClientHome.make(t, server);
  const tree = join(home.path, 'tree');
  writeTree(tree);
  return { server, home, tree };
}

async function changes(home: ClientHome, argv: readonly string[], env: Record<string, string> = {}): Promise<Change[]> {
  const run = await home.run(['diff', ...argv, '--output-format', 'json'], { env });
  assert.equal(run.exit, 0, run.stderr);
  return JSON.parse(run.stdout) as Change[];
}

/** What is expected of the tree; the times of links and directories differ with when they were made. */
function seen(all: readonly Change[]): string[] {
  return all.filter(({ path, fields }) => !(path === '/' || (fields?.join(',') === 'mtime' && path === '/same'))).map(({ change, path, filepath, fields }) => {
    const shown = path.includes('\u{fffd}') ? filepath : path;
    const kept = (fields ?? []).filter((field) => !(field === 'mtime' && ['/link', '/text'].includes(path)));
    return `${change} ${shown}${kept.length > 0 ? ` ${kept.join(' ')}` : ''}`;
  });
}

const expected = [
  'removed /gone',
  'removed /gone/below',
  'removed /gone/below/y',
  'removed /gone/x',
  'removed /kind',
  'added /kind',
  'changed /link target',
  'changed /mode mode',
  'added /new',
  'added /new/n',
  `added ${Buffer.from('/new/\xff\n', 'latin1').toString('base64')}`,
  'changed /text size content',
  'changed /time mtime',
];

for (const [kind, options, key] of [
  ['unified', [], []],
  ['split', ['--change-detection-mode', 'data'], []],
  ['split, the second from the first', ['--change-detection-mode', 'metadata'], []],
  ['encrypted', ['--change-detection-mode', 'data'], ['--keyfile', fixturePath('keys/kdf-none.key')]],
] as const) {
  test(`two trees: ${kind}`, async (t) => {
    const { home, tree } = await ground(t);
    const env = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };
    const backUp = async (id: string, time: number): Promise<void> => {
      const { exit, stderr } = await home.run(['backup', `root.pxar:${tree}`, '--backup-id', id, '--backup-time', String(time), '--chunk-size', '64', ...options, ...key], { env });
      assert.equal(exit, 0, stderr);
    };
    await backUp('t', times[0]);
    await backUp('other', times[0]);
    changeTree(tree);
    await backUp('t', times[1]);
    const run = (first: string, second: string, ...more: string[]): Promise<Change[]> => changes(home, [first, second, 'root.pxar', ...more, ...key], env);
    assert.deepEqual(await run(snapshot('t', 0), snapshot('other', 0)), []);
    assert.deepEqual(seen(await run(snapshot('t', 0), snapshot('t', 1))), expected);
    // By metadata the client may have taken such a file for unchanged.
    const read = seen(await run(snapshot('other', 0), snapshot('t', 1), '--compare-content'));
    const hidden = options[1] === 'metadata' ? read.filter((line) => line.includes('/hidden')) : ['changed /hidden content'];
    assert.deepEqual(read, [...expected.slice(0, 4), ...hidden, ...expected.slice(4)]);
    assert.deepEqual(seen(await run(snapshot('t', 0), 'host/t', 'new/')), ['added /new']);
  });
}

test('text, for people', async (t) => {
  const { home, tree } = await ground(t);
  for (const time of times) {
    await home.run(['backup', `root.pxar:${tree}`, '--backup-id', 't', '--backup-time', String(time)]);
    chmodSync(join(tree, 'mode'), 0o600);
  }
  const { stdout, stderr, exit } = await home.run(['diff', snapshot('t', 0), snapshot('t', 1), 'root.pxar']);
  assert.equal(exit, 0);
  assert.match(stdout, /^M f {2}\d+ +\d+ +\*0600 +5 {2}2020-09-13T12:26:40\.000Z {1,3}"\/mode" \(mode\)\n$/);
  assert.equal(stderr, '0 added, 0 removed, 1 changed\n');
  const pretty = await home.run(['diff', snapshot('t', 0), snapshot('t', 1), 'root.pxar', '--output-format', 'json-pretty']);
  assert.equal((JSON.parse(pretty.stdout) as unknown[]).length, 1);
});

test('contents that are the same are not fetched', async (t) => {
  const { server, home, tree } = await ground(t);
  for (const time of times) {
    const { exit } = await home.run(['backup', `root.pxar:${tree}`, '--backup-id', 't', '--backup-time', String(time), '--change-detection-mode', 'data']);
    assert.equal(exit, 0);
    appendFileSync(join(tree, 'text'), 'more');
  }
  for (const which of [0, 1] as const) {
    const index = ChunkIndex.parse('dynamic', readFileSync(join(server.path, snapshot('t', which), 'root.ppxar.didx')));
    for (const { digest } of index.entries()) rmSync(join(server.path, '.chunks', toHex(digest).slice(0, 4), toHex(digest)), { force: true });
  }
  assert.ok(readdirSync(join(server.path, '.chunks')).length > 0);
  assert.deepEqual((await changes(home, [snapshot('t', 0), snapshot('t', 1), 'root.pxar'])).filter(({ path }) => path !== '/').map(({ path }) => path), ['/text']);
});

test('images: ranges of chunks, and with contents of blocks', async (t) => {
  const { home } = await ground(t);
  const chunk = 4 * 1024 * 1024;
  const image = Buffer.alloc(5 * chunk, 'image');
  const path = join(home.path, 'disk');
  const backUp = async (time: number): Promise<void> => {
    writeFileSync(path, image);
    const { exit, stderr } = await home.run(['backup', `disk.img:${path}`, '--backup-id', 'i', '--backup-time', String(time)]);
    assert.equal(exit, 0, stderr);
  };
  await backUp(times[0]);
  for (const at of [chunk + 4500, 2 * chunk, 4 * chunk + 8192]) image[at]! ^= 1;
  await backUp(times[1]);
  const ranges = async (...more: string[]): Promise<unknown> => changes(home, [snapshot('i', 0), snapshot('i', 1), 'disk.img', ...more]);
  assert.deepEqual(await ranges(), [{ length: 2 * chunk, offset: chunk }, { length: chunk, offset: 4 * chunk }]);
  assert.deepEqual(await ranges('--compare-content'), [{ length: 4096, offset: chunk + 4096 }, { length: 4096, offset: 2 * chunk }, { length: 4096, offset: 4 * chunk + 8192 }]);
  assert.deepEqual(await changes(home, [snapshot('i', 0), snapshot('i', 0), 'disk.img']), []);
  const { stdout, stderr } = await home.run(['diff', snapshot('i', 0), snapshot('i', 1), 'disk.img']);
  assert.deepEqual([stdout, stderr], ['M 4194304 8388608\nM 16777216 4194304\n', '2 ranges with 12 MiB differ, of 20 MiB and 20 MiB\n']);
});

test('what cannot be compared is refused', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  const refused = async (...argv: string[]): Promise<string> => {
    const { exit, stderr } = await home.run(['diff', ...argv]);
    assert.equal(exit, 255);
    return stderr;
  };
  assert.match(await refused('host/plain', 'host/split', 'qemu.conf'), /is neither a directory tree nor an image/);
  assert.match(await refused('host/plain', 'host/split', 'none.pxar'), /archive not found in manifest/);
  assert.match(await refused('host/plain', 'nonsense', 'root.pxar'), /unable to parse backup/);
  assert.match(await refused('host/plain', 'host/crypt', 'root.pxar'), /missing key/);
});
