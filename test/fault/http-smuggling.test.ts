import assert from 'node:assert/strict';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { clientHello, requestFrame } from '../support/http2-client-frames.ts';
import { unpackGoldenDatastore } from '../support/golden.ts';
import { converse, listeningServer, madeToken, type ListeningServer } from '../support/raw-https.ts';

/**
 * Two that stand one behind the other must never differ in where a request ends: what the first one let pass as the body of a request of somebody who may would be
 * a request of its own for the second. Whatever could be read in two ways is refused and its connection closed.
 */

const hidden = 'GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n';
const last = 'GET /last HTTP/1.1\r\nHost: x\r\n\r\n';
const answerToLast = /no such file: 'last'$/;
const post = (headers: string, rest: string): string => `POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\n${headers}\r\n${rest}`;

const refused: ReadonlyArray<[name: string, bytes: string]> = [
  ['length, then chunked', post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden}`)],
  ['chunked, then length', post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${hidden}`)],
  ['two lengths', post(`Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n`, hidden)],
  ['the same length twice', post('Content-Length: 3\r\nContent-Length: 3\r\n', `a=b${hidden}`)],
  ['a list of lengths', post('Content-Length: 3, 3\r\n', `a=b${hidden}`)],
  ['a length with a sign', post('Content-Length: +3\r\n', `a=b${hidden}`)],
  ['a negative length', post('Content-Length: -3\r\n', `a=b${hidden}`)],
  ['a hexadecimal length', post('Content-Length: 0x3\r\n', `a=b${hidden}`)],
  ['a length of more than 64 bits', post('Content-Length: 18446744073709551619\r\n', `a=b${hidden}`)],
  ['an unknown coding', post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${hidden}`)],
  ['identity', post('Transfer-Encoding: identity\r\n', hidden)],
  ['chunked, but not last', post('Transfer-Encoding: chunked, identity\r\n', `0\r\n\r\n${hidden}`)],
  ['two codings', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', `0\r\n\r\n${hidden}`)],
  ['a coding behind a vertical tab', post('Transfer-Encoding: \u000bchunked\r\n', `0\r\n\r\n${hidden}`)],
  ['a space before the colon', post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${hidden}`)],
  ['a folded header', post('Content-Length: 3\r\nX: a\r\n Transfer-Encoding: chunked\r\n', `a=b${hidden}`)],
  ['a space before the first header', `GET /a HTTP/1.1\r\n Host: x\r\n\r\n${hidden}`],
  ['lines that end with LF', `GET /a HTTP/1.1\nHost: x\n\n${hidden}`],
  ['lines that end with CR', `GET /a HTTP/1.1\rHost: x\r\r${hidden}`],
  ['NUL in a header', `GET /a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n${hidden}`],
  ['chunked in HTTP/1.0', `POST /api2/json/access/ticket HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`],
  ['a chunk with a negative size', post('Transfer-Encoding: chunked\r\n', `-3\r\na=b\r\n0\r\n\r\n${hidden}`)],
  ['a chunk with a size of more than 64 bits', post('Transfer-Encoding: chunked\r\n', `10000000000000003\r\na=b\r\n0\r\n\r\n${hidden}`)],
  ['a chunk whose size ends with LF', post('Transfer-Encoding: chunked\r\n', `3\na=b\n0\n\n${hidden}`)],
  ['a chunk that is longer than it says', post('Transfer-Encoding: chunked\r\n', `3\r\na=bXX0\r\n\r\n${hidden}`)],
  ['a length among the trailers', post('Transfer-Encoding: chunked\r\n', `3\r\na=b\r\n0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`)],
  ['a long chunk extension', post('Transfer-Encoding: chunked\r\n', `3;${'x'.repeat(40_000)}\r\na=b\r\n0\r\n\r\n${hidden}`)],
  ['no host', `GET /a HTTP/1.1\r\n\r\n${hidden}`],
  ['two hosts', `GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n${hidden}`],
  ['a tunnel', `CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n${hidden}`],
  ['HTTP/2 without an upgrade', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${hidden}`],
  ['an unknown version', `GET /a HTTP/1.2\r\nHost: x\r\n\r\n${hidden}`],
];

test('what could be read in two ways is refused, with its connection', async (t) => {
  const { port } = await listeningServer(t);
  await Promise.all(
    refused.map(async ([name, bytes]) => {
      // Returns only when the server has closed the connection.
      const received = await converse(port, [bytes]);
      assert.doesNotMatch(received, /hidden/, name);
      // A reset may overtake the answer.
      assert.match(received, /^(?:HTTP\/1\.1 4\d\d |$)/, name);
    }),
  );
  await converse(port, [last], answerToLast);
});

test('a body is a body, whatever is in it', async (t) => {
  const { port } = await listeningServer(t);
  const chunked = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
  const kept = [
    post(`Content-Length: ${hidden.length}\r\n`, hidden),
    post('Transfer-Encoding: chunked\r\n', chunked),
    post('Transfer-Encoding: chunked\r\n', `0\r\nX-Trailer: ${'x'.repeat(100)}\r\n\r\n`),
    `GET /api2/json/access/domains HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    `GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    // Upgrades are for the two session endpoints only; elsewhere the header says nothing.
    `GET /api2/json/access/domains HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
  ];
  for (const bytes of kept) {
    const received = await converse(port, [bytes, last], answerToLast);
    assert.doesNotMatch(received, /no such file: 'hidden'/);
    assert.equal(received.match(/HTTP\/1\.1 \d\d\d /g)!.length, 2, `two answers to ${bytes}`);
  }
});

interface Reading extends ListeningServer {
  /** Opens a reader session; `more` are further headers. */
  upgrade: (more?: string, store?: string) => string;
}

async function reading(t: TestContext): Promise<Reading> {
  const ground = await listeningServer(t, {}, async (paths) => {
    const folder = join(paths.state, 'golden');
    await mkdir(folder, { recursive: true });
    await unpackGoldenDatastore(folder);
    await writeFile(join(folder, '.lock'), '');
    await appendFile(join(paths.config, 'datastore.cfg'), `datastore: main\n\tpath ${folder}\n`, { mode: 0o640 });
  });
  const token = await madeToken(ground, 'reader@pbs', 'DatastoreReader');
  const time = Date.parse('2025-10-10T08:53:20Z') / 1000;
  const upgrade = (more = '', store = 'main'): string =>
    `GET /api2/json/reader?store=${store}&backup-type=host&backup-id=plain&backup-time=${time} HTTP/1.1\r\nHost: x\r\nAuthorization: ${token}\r\nConnection: Upgrade\r\nUpgrade: proxmox-backup-reader-protocol-v1\r\n${more}\r\n`;
  return { ...ground, upgrade };
}

test('an upgrade with a body is refused, and nothing behind it is a request', async (t) => {
  const { port, upgrade, server } = await reading(t);
  for (const bytes of [upgrade(`Content-Length: ${hidden.length}\r\n`) + hidden, upgrade('Transfer-Encoding: chunked\r\n') + `0\r\n\r\n${hidden}`]) {
    const received = await converse(port, [bytes]);
    assert.match(received, /^HTTP\/1\.1 400 [^]*cannot have a body$/);
  }
  assert.deepEqual(server.composition.tasks.running(), []);
});

test('after the upgrade nothing is HTTP/1.1 any more, before it nothing is HTTP/2', async (t) => {
  const { port, upgrade, server } = await reading(t);
  for (const pieces of [[upgrade() + hidden], [upgrade(), hidden], [upgrade() + hidden.repeat(100)]]) {
    const received = await converse(port, pieces);
    assert.match(received, /^HTTP\/1\.1 101 /);
    assert.doesNotMatch(received, /HTTP\/1\.1 4|hidden/);
  }
  // In one packet: request, preface, first call of the session. The end of the answer is a frame with END_STREAM on stream 1.
  await converse(port, [Buffer.concat([Buffer.from(upgrade()), clientHello(), requestFrame(1, 'GET', '/download?file-name=nosuch.blob')])], /^HTTP\/1\.1 101 [^]*open file [^]* failed - not found/);
  await server.composition.tasks.idle();
});

test('who was let in for an upgrade that was refused is not let in for what follows on the connection', async (t) => {
  const { port, upgrade } = await reading(t);
  const version = 'GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n';
  const received = await converse(port, [upgrade('', 'nosuch') + version + last], answerToLast);
  assert.match(received, /^HTTP\/1\.1 400 [^]*nosuch[^]*HTTP\/1\.1 401 [^]*authentication failed[^]*HTTP\/1\.1 404 /);
});
