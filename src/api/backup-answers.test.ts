import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackupClient, ok } from '../../test/support/backup-client.ts';
import { backupServer } from '../../test/support/backup-server.ts';
import { goldenKey } from '../../test/support/golden.ts';
import { toHex } from '../base/bytes.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { checkBlobCrc, encodeBlob, verifyChunk } from '../format/data-blob.ts';
import { encodeManifestBlob } from '../format/manifest.ts';

/** All answers here are what a reference server of 4.2.3 gives to the same calls, unless a comment says otherwise. */

const done = '200 {"data":null}';
const MiB4 = 4 * 1024 * 1024;
const snapshot = (time: number): BackupSnapshot => ({ type: 'host', id: 'demo', time });
const hex = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const concatenated = (...digests: string[]): string => hex(Buffer.concat(digests.map((digest) => Buffer.from(digest, 'hex'))));
const plain = (data: Buffer): Buffer => encodeBlob(data, { compress: false });

const ones = Buffer.alloc(MiB4, 1);
const twos = Buffer.alloc(100, 2);
const sevens = Buffer.alloc(MiB4, 7);
const [oneDigest, twoDigest, sevenDigest] = [ones, twos, sevens].map(hex) as [string, string, string];
const zeros64 = 'a'.repeat(64);

function broken(blob: Buffer, at: number): Buffer {
  const copy = Buffer.from(blob);
  copy[at]! ^= 1;
  return copy;
}

test('what is wrong with a request of a session', async (t) => {
  const server = await backupServer(t);
  const client = await BackupClient.open(server, { snapshot: snapshot(1_700_000_000) });
  const cases: Array<[call: string, answer: string]> = [
    ['GET /previous_backup_time', done],
    [
      'GET /',
      `200 {"data":${JSON.stringify(['blob', 'dynamic_chunk', 'dynamic_close', 'dynamic_index', 'finish', 'fixed_chunk', 'fixed_close', 'fixed_index', 'previous', 'previous_backup_time', 'speedtest'].map((subdir) => ({ subdir })))}}`,
    ],
    ['GET /nosuch', "404 Path '/nosuch' not found."],
    ['GET /.x', '400 path contains illegal components'],
    ['GET /previous?archive-name=index.json.blob', '400 no valid previous backup'],
    ['GET /previous?archive-name=a.didx', '400 no valid previous backup'],
    ['POST /finish', '400 backup does not contain valid files (file count == 0)'],
    ['POST /dynamic_index?archive-name=a.fidx', "400 wrong archive extension: 'a.fidx'"],
    ['POST /fixed_index?archive-name=a.didx', "400 wrong archive extension: 'a.didx'"],
    ['POST /fixed_index?archive-name=a/c.fidx', "400 parameter verification failed - 'archive-name': value does not match the regex pattern"],
    ['POST /dynamic_index?archive-name=a.didx', '200 {"data":1}'],
    ['POST /fixed_index?archive-name=b.fidx&size=4194404', '200 {"data":2}'],
    // The reference makes a second writer on the same temporary file.
    ['POST /dynamic_index?archive-name=a.didx', "400 dynamic writer 'a.didx' is open already"],
    [`POST /fixed_index?archive-name=c.fidx&reuse-csum=${zeros64}`, '400 size is required for incremental backups'],
    [`POST /fixed_index?archive-name=c.fidx&size=5&reuse-csum=${zeros64}`, '400 cannot reuse index - no valid previous backup exists'],
    ['POST /fixed_index?archive-name=c.fidx&size=0', "400 parameter verification failed - 'size': value must have a minimum value of 1 (got 0)"],
  ];
  for (const [call, answer] of cases) {
    const [method, path] = call.split(' ') as [string, string];
    assert.equal(await client.call(method, path), answer, call);
  }

  const key = await goldenKey('kdf-scrypt');
  const secret = encodeBlob(Buffer.from('content'), { compress: false, crypt: key });
  const stored = `200 {"data":"${twoDigest}"}`;
  const uploads: Array<[answer: string, ...upload: Parameters<BackupClient['chunk']>]> = [
    ["400 dynamic writer '9' not registered", 'dynamic', 9, twos],
    ["400 fixed writer '1' not registered", 'fixed', 1, twos],
    ['400 uploaded chunk has unexpected size.', 'dynamic', 1, twos, { encodedSize: 113 }],
    ['400 uploaded chunk is larger than announced.', 'dynamic', 1, twos, { encodedSize: 111 }],
    ['400 detected chunk with wrong digest.', 'dynamic', 1, twos, { digest: zeros64 }],
    ['400 detected chunk with wrong length (99 != 100)', 'dynamic', 1, twos, { size: 99 }],
    ['400 unable to parse raw blob - wrong magic', 'dynamic', 1, twos, { blob: broken(plain(twos), 0) }],
    // The CRC is mended.
    [stored, 'dynamic', 1, twos, { blob: broken(plain(twos), 8) }],
    ['400 detected chunk with wrong digest.', 'dynamic', 1, twos, { blob: broken(plain(twos), 50) }],
    ['400 encrypted blob too small (17 bytes).', 'dynamic', 1, twos, { blob: secret.subarray(0, 17) }],
    // Nothing of an encrypted chunk can be checked.
    [`200 {"data":"${'b'.repeat(64)}"}`, 'dynamic', 1, twos, { blob: broken(broken(secret, 8), 47), digest: 'b'.repeat(64), size: 8 }],
    ["400 parameter verification failed - 'digest': value does not match the regex pattern", 'dynamic', 1, twos, { digest: 'A'.repeat(64) }],
    ["400 fixed writer 'b.fidx' - got large chunk (4194305 > 4194304", 'fixed', 2, Buffer.alloc(MiB4 + 1, 3)],
    [stored, 'fixed', 2, twos],
    ["400 fixed writer '2' - detected multiple end chunks (chunk size too small)", 'fixed', 2, twos],
    ["400 parameter verification failed - 'wid': value must have a maximum value of 256 (got 300)", 'fixed', 300, twos],
  ];
  for (const [answer, ...upload] of uploads) assert.equal(await client.chunk(...upload), answer);
  const chunkFile = (digest: string): Buffer => readFileSync(join(server.path, '.chunks', digest.slice(0, 4), digest));
  await verifyChunk(chunkFile(twoDigest), Buffer.from(twoDigest, 'hex'), 100);
  assert.equal(checkBlobCrc(chunkFile('b'.repeat(64))), 'encrypted');

  const appends: Array<[answer: string, ...append: Parameters<BackupClient['append']>]> = [
    ['400 offset list has wrong length (2 != 1)', 'dynamic', 1, [twoDigest], [0, 1]],
    [`400 no such chunk ${'c'.repeat(64)}`, 'dynamic', 1, ['c'.repeat(64)], [0]],
    ["400 dynamic writer 'a.didx' append chunk failed - got strange chunk offset (0 != 5)", 'dynamic', 1, [twoDigest], [5]],
    ["400 dynamic writer '7' not registered", 'dynamic', 7, [twoDigest], [0]],
    ["400 dynamic writer '2' not registered", 'dynamic', 2, [twoDigest], [0]],
    [done, 'dynamic', 1, [twoDigest], [0]],
    [done, 'dynamic', 1, [], []],
    ["400 parameter verification failed:\n- 'digest-list/[0]': value does not match the regex pattern\n- 'offset-list/[0]': value must have a minimum value of 0 (got -1)", 'dynamic', 1, ['x'], [-1]],
    ['400 chunk with unexpected length (100 != 4194304', 'fixed', 2, [twoDigest], [5]],
    ['400 chunk with unexpected length (100 != 4194304', 'fixed', 2, [twoDigest], [0]],
    ['400 refusing to resize from 4194404 to 8388708', 'fixed', 2, [twoDigest], [2 * MiB4]],
    [done, 'fixed', 2, [twoDigest], [MiB4]],
  ];
  for (const [answer, ...append] of appends) assert.equal(await client.append(...append), answer);

  const closes: Array<[answer: string, ...close: Parameters<BackupClient['close']>]> = [
    ["400 dynamic writer 'a.didx' close failed - unexpected chunk count (1 != 2)", 'dynamic', 1, 2, 100, zeros64],
    ["400 dynamic writer 'a.didx' close failed - unexpected file size (100 != 101)", 'dynamic', 1, 1, 101, zeros64],
    ["400 dynamic writer 'a.didx' close failed - got unexpected checksum", 'dynamic', 1, 1, 100, zeros64],
    ["400 dynamic writer 'a.didx' close failed - already closed", 'dynamic', 1, 1, 100, zeros64],
    ["400 fixed writer 'b.fidx' close failed - received wrong number of chunk (1 != 2)", 'fixed', 2, 2, 100, zeros64],
    ["400 fixed writer 'b.fidx' close failed - unexpected chunk count (2 != 1)", 'fixed', 2, 1, 100, zeros64],
    ["400 fixed writer '5' not registered", 'fixed', 5, 1, 100, zeros64],
  ];
  for (const [answer, ...close] of closes) assert.equal(await client.close(...close), answer);
  assert.equal(await client.append('dynamic', 1, [twoDigest], [100]), "400 dynamic writer 'a.didx' append chunk failed - already closed");

  const blob = plain(twos);
  const post = (name: string, encodedSize: number, body: Buffer): Promise<string> => client.call('POST', `/blob?file-name=${name}&encoded-size=${encodedSize}`, body);
  assert.equal(await post('foo', 112, blob), "400 wrong blob file extension: 'foo'");
  assert.equal(await post('foo.blob', 113, blob), '400 got blob with unexpected length (113 != 112)');
  assert.equal(await post('foo.blob', 111, blob), '400 got blob with unexpected length (111 != 112)');
  assert.equal(await post('foo.blob', 112, broken(blob, 8)), '400 Data blob has wrong CRC checksum.');
  assert.equal(await post('foo.blob', 112, broken(blob, 0)), '400 unable to parse raw blob - wrong magic');
  assert.equal(await post('foo.blob', 112, blob), done);
  assert.equal(await post('foo.blob', 5, blob), "400 parameter verification failed - 'encoded-size': value must have a minimum value of 12 (got 5)");
  assert.equal(await client.finish(), '400 found open index writer - unable to finish backup');
});

test('the worked example: a fixed index, another built upon it, and what a finished session still answers', async (t) => {
  const server = await backupServer(t);
  const csum = '4ccc26aff980dcb0782537e5ffa71acef1f7bcbaeeab56f559ca80498f220ed1';
  const first = await BackupClient.open(server, { snapshot: snapshot(1_700_000_000) });
  ok(await first.call('POST', '/fixed_index?archive-name=b.fidx&size=4194404'));
  ok(await first.chunk('fixed', 1, ones));
  ok(await first.chunk('fixed', 1, twos));
  assert.equal(await first.append('fixed', 1, [oneDigest, twoDigest], [0, MiB4]), done);
  assert.equal(await first.close('fixed', 1, 2, 4_194_405, csum), "400 fixed writer 'b.fidx' close failed - unexpected file size (4194404 != 4194405)");
  assert.equal(await first.close('fixed', 1, 2, 4_194_404, csum), done);
  assert.equal(await first.close('fixed', 1, 2, 4_194_404, csum), "400 fixed writer '1' not registered");
  first.files.push({ filename: 'b.fidx', cryptMode: 'none', size: 4_194_404, csum });
  ok(await first.manifest());
  assert.equal(await first.finish(), done);
  const over = '400 backup already marked as finished.';
  assert.equal(await first.finish(), over);
  assert.equal(await first.call('GET', '/previous_backup_time'), done);
  assert.equal(await first.call('POST', '/speedtest', twos), done);
  assert.equal(await first.call('POST', '/dynamic_index?archive-name=z.didx'), over);
  assert.equal(await first.chunk('fixed', 1, twos), over);
  assert.equal(await first.append('fixed', 1, [oneDigest], [0]), over);
  assert.equal(await first.close('fixed', 1, 2, 4_194_404, csum), over);
  // The reference forgets to refuse this one.
  assert.equal(await first.call('POST', '/blob?file-name=q.blob&encoded-size=112', plain(twos)), over);
  await first.end();

  const second = await BackupClient.open(server, { snapshot: snapshot(1_700_000_100) });
  const folder = join(server.path, 'host/demo/2023-11-14T22:13:20Z');
  assert.equal(await second.call('GET', '/previous_backup_time'), '200 {"data":1700000000}');
  assert.equal(await second.previous('none.fidx'), `400 Unable to open fixed index "${folder}/none.fidx" - No such file or directory (os error 2)`);
  assert.equal(await second.previous('none.blob'), `404 open file "${folder}/none.blob" failed - not found`);
  assert.equal(await second.previous('foo'), '400 unknown archive type: "foo"');
  const reuse = (name: string, size: number, expected: string): Promise<string> => second.call('POST', `/fixed_index?archive-name=${name}&size=${size}&reuse-csum=${expected}`);
  assert.equal(await reuse('n.fidx', 4_194_404, csum), '400 cannot reuse index - no previous backup exists for archive');
  assert.equal(await reuse('b.fidx', 4_194_404, zeros64), `400 expected csum (${zeros64}) doesn't match last backup's (${csum}), cannot do incremental backup`);
  assert.equal(await reuse('b.fidx', 44_194_404, csum), '400 cannot reuse index - index sizes not equal (11 != 2)');
  assert.equal(await reuse('b.fidx', 4_194_404, csum), '200 {"data":1}');
  ok(await second.chunk('fixed', 1, sevens));
  assert.equal(await second.append('fixed', 1, [sevenDigest], [0]), done);
  // Reused digests are not known: the client fetches the old index for that.
  assert.equal(await second.append('fixed', 1, [oneDigest], [0]), `400 no such chunk ${oneDigest}`);
  assert.ok(Buffer.from(await second.previous('b.fidx')).includes(Buffer.from(oneDigest, 'hex')));
  assert.equal(await second.append('fixed', 1, [oneDigest], [0]), done);
  assert.equal(await second.append('fixed', 1, [sevenDigest], [0]), done);
  const changed = 'a25d12d6d58016a846eb11975040f63ab40f0b3403c0df509a4e260f3638e2d8';
  assert.equal(await second.close('fixed', 1, 1, 5, changed), "400 fixed writer 'b.fidx' close failed - received wrong number of chunk (3 != 1)");
  assert.equal(await second.close('fixed', 1, 3, 5, changed), done);
  assert.equal(await second.blob('index.json.blob', plain(Buffer.from('{nonsense'))), done);
  assert.match(await second.finish(), /^400 unable to update manifest blob - /);
  assert.equal(await second.finish(), '400 backup is already in the process of finishing.');
});

test('an image without announced size grows; its last chunk may be short, and then it is whole', async (t) => {
  const server = await backupServer(t);
  const client = await BackupClient.open(server, { snapshot: snapshot(1000) });
  ok(await client.call('POST', '/fixed_index?archive-name=g.fidx'));
  for (const chunk of [ones, twos]) ok(await client.chunk('fixed', 1, chunk));
  assert.equal(await client.append('fixed', 1, [oneDigest], [MiB4 + 1]), `400 got unaligned chunk (pos = ${MiB4 + 1})`);
  assert.equal(await client.append('fixed', 1, [oneDigest, twoDigest], [0, MiB4]), done);
  assert.equal(await client.append('fixed', 1, [oneDigest], [2 * MiB4]), '400 refusing to resize from 4194404 to 12582912');
  assert.equal(await client.close('fixed', 1, 2, 4_194_404, concatenated(oneDigest, twoDigest)), done);
  ok(await client.call('POST', '/fixed_index?archive-name=h.fidx'));
  assert.equal(await client.close('fixed', 2, 0, 0, concatenated()), '400 fidx file must have at least one chunk');
  ok(await client.call('POST', '/fixed_index?archive-name=i.fidx&size=4194404'));
  // Twice the same place is no whole image, whatever the counts say. The reference stores an index with a hole.
  assert.equal(await client.append('fixed', 3, [oneDigest, oneDigest], [0, 0]), done);
  assert.match(await client.close('fixed', 3, 2, 4_194_404, concatenated(oneDigest, zeros64)), /^400 .*fixed index has 1 of 2 chunks/);
});

test('a reused last chunk of another length is refused, since the index would be wrong', async (t) => {
  const server = await backupServer(t);
  const first = await BackupClient.open(server, { snapshot: snapshot(1000) });
  await first.archive('b.fidx', [ones, twos]);
  ok(await first.manifest());
  ok(await first.finish());
  await first.end();
  const second = await BackupClient.open(server, { snapshot: snapshot(2000) });
  const csum = concatenated(oneDigest, twoDigest);
  ok(await second.call('POST', `/fixed_index?archive-name=b.fidx&size=4194504&reuse-csum=${csum}`));
  assert.match(await second.close('fixed', 1, 0, 0, csum), /^400 fixed writer 'b\.fidx' close failed - the last chunk was reused from an image of another size \(4194404 != 4194504\)/);
});

test('a manifest that its files do not bear out is not published', async (t) => {
  const server = await backupServer(t);
  const file = { filename: 'x.conf.blob', cryptMode: 'none' as const, size: 112, csum: hex(plain(twos)) };
  const cases = [
    [[{ ...file, filename: 'y.conf.blob' }], "the manifest lists 'y.conf.blob', which was not uploaded"],
    [[{ ...file, size: 113 }], "the manifest says something else of 'x.conf.blob' than was uploaded: wrong size (113 != 112)"],
    [[{ ...file, csum: zeros64 }], "the manifest says something else of 'x.conf.blob' than was uploaded: wrong index checksum"],
    [null, "unable to load blob '\""],
  ] as const;
  for (const [files, why] of cases) {
    const client = await BackupClient.open(server, { snapshot: snapshot(1000) });
    ok(await client.blob('x.conf.blob', plain(twos)));
    if (files !== null) ok(await client.blob('index.json.blob', encodeManifestBlob({ backupType: 'host', backupId: 'demo', backupTime: 1000, files: [...files], signature: null, unprotected: {} })));
    assert.ok((await client.finish()).startsWith(`400 unable to update manifest blob - ${why}`), why);
    await client.end();
    while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
});

test('finish sees a call that runs beside it as a whole or not at all', async (t) => {
  const server = await backupServer(t);
  const first = await BackupClient.open(server, { snapshot: snapshot(1000) });
  ok(await first.blob('x.conf.blob', plain(twos)));
  ok(await first.manifest());
  const both = await Promise.all([first.call('POST', '/dynamic_index?archive-name=z.didx'), first.finish()]);
  assert.deepEqual(both, ['200 {"data":1}', '400 found open index writer - unable to finish backup']);
  await first.end();
  while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const second = await BackupClient.open(server, { snapshot: snapshot(1000) });
  ok(await second.blob('x.conf.blob', plain(twos)));
  ok(await second.manifest());
  const [finish, create] = await Promise.all([second.finish(), second.call('POST', '/dynamic_index?archive-name=z.didx')]);
  assert.equal(finish, done);
  assert.match(create, /^400 backup (?:is already in the process of finishing|already marked as finished)\.$/);
  assert.deepEqual(readdirSync(join(server.path, 'host/demo/1970-01-01T00:16:40Z')).toSorted(), ['index.json.blob', 'x.conf.blob']);
});

test('many streams at once: bursts of chunks, bodies larger than a window among them', async (t) => {
  const server = await backupServer(t);
  const client = await BackupClient.open(server, { snapshot: snapshot(1000) });
  const key = await goldenKey('kdf-scrypt');
  // What a stream may send before it is read bounds what 200 of them hold.
  assert.deepEqual([client.h2.remoteSettings.initialWindowSize, client.h2.remoteSettings.maxConcurrentStreams], [1024 * 1024, 200]);
  ok(await client.call('POST', '/dynamic_index?archive-name=a.didx'));
  const chunks = Array.from({ length: 192 }, (_, i) => createHash('sha512').update(String(i)).digest().subarray(0, 60));
  // Bodies larger than the window of a stream among them.
  const large = Array.from({ length: 12 }, (_, i) => Buffer.alloc(3 * 1024 * 1024, i));
  const secret = large.map((data) => encodeBlob(data, { compress: false, crypt: key }));
  const answers = await Promise.all([
    ...chunks.map((chunk) => client.chunk('dynamic', 1, chunk)),
    ...large.map((data, i) => client.chunk('dynamic', 1, data, { blob: secret[i]!, digest: toHex(key.digest(data)) })),
    ...Array.from({ length: 8 }, () => client.call('GET', '/previous_backup_time')),
  ]);
  assert.equal(answers.filter((answer) => answer.startsWith('200 ')).length, 192 + 12 + 8);
  const digests = [...chunks.map(hex), ...large.map((data) => toHex(key.digest(data)))];
  let offset = 0;
  const offsets = [...chunks, ...large].map((chunk) => (offset += chunk.length) - chunk.length);
  assert.equal(await client.append('dynamic', 1, digests, offsets), done);
});
