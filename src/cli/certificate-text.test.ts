import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CannedServer, recordings, runWith } from '../../test/support/manager-runs.ts';
import { addressBytes, certificateText } from './certificate-text.ts';

test('addresses as bytes', () => {
  assert.deepEqual(addressBytes('127.0.0.1'), [127, 0, 0, 1]);
  assert.deepEqual(addressBytes('0:0:0:0:0:0:0:1'), [...Array.from({ length: 15 }, () => 0), 1]);
  assert.deepEqual(addressBytes('::1'), [...Array.from({ length: 15 }, () => 0), 1]);
  assert.deepEqual(addressBytes('2001:db8::ff00:1'), [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 1]);
});

test('no certificate', async () => {
  const run = await runWith(new CannedServer({ 'GET /nodes/localhost/certificates/info': { data: [] } }), ['cert', 'info']);
  assert.deepEqual([run.stdout, run.exit], ['', 255]);
  assert.match(run.stderr, /^Error: unable to /);
});

test('a certificate of the reference, as the reference prints it', async () => {
  // The recorded output is about another certificate of the same maker: same shape, other values.
  const recorded = recordings('cert')[0]!.stdout.split('\n');
  const info = JSON.parse(readFileSync(new URL('../../test/fixtures/server/certificate-info.json', import.meta.url), 'utf8')) as Record<string, string>;
  const pem = info['pem']!;
  const lines = certificateText(pem).split('\n');
  const shape = (line: string): string => line.replace(/[0-9A-F]{8}-[0-9A-F-]{27}/, 'UUID').replace(/CN = .*/, 'CN').replace(/DNS:(?!localhost).*/, 'DNS').replace(/[A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}/, 'time').replace(/(?:[0-9a-f]{2}:){31}[0-9a-f]{2}/, 'hash');
  assert.deepEqual([...new Set(lines.map(shape))], [...new Set(recorded.map(shape))]);
  for (const line of [`Fingerprint (sha256): ${info['fingerprint']}`, `Subject: ${info['subject']}`, `Issuer: ${info['issuer']}`, `Public key type: ${info['public-key-type']}`, `Public key bits: ${info['public-key-bits']}`]) {
    assert.ok(lines.includes(line), line);
  }

  const server = new CannedServer({ 'GET /nodes/localhost/certificates/info': { data: [{ filename: 'proxy.pem', pem }] } });
  assert.deepEqual(await runWith(server, ['cert', 'info']), { stdout: certificateText(pem), stderr: '', exit: 0 });
});
