import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { clientPasswords, clientServer } from '../../test/support/client-server.ts';
import { BackupClient } from '../protocol/backup-client.ts';
import { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { RestClient } from '../protocol/rest-client.ts';
import { measureNames, runBenchmark, speedCell } from './benchmark.ts';

test('a short benchmark measures everything, and leaves nothing on the server', async (t) => {
  const server = await clientServer(t, { own: true });
  const endpoint = new RemoteEndpoint({ host: '127.0.0.1', port: server.port, authId: 'admin@pbs', secret: clientPasswords['admin@pbs'], fingerprint: server.fingerprint });
  const rest = new RestClient(endpoint);
  const client = await BackupClient.open(endpoint, { store: 'main', ns: '', backupType: 'host', backupId: 'benchmark', backupTime: 1_770_000_000, benchmark: true, authHeaders: async () => rest.authHeaders() });
  let said = '';
  const stderr = { write: (text: string) => void (said += text) };
  const { signal } = new AbortController();
  const speeds = await runBenchmark({ client, crypt: null, stderr, signal, scale: 0.01 });
  client.close();
  rest.close();
  for (const name of measureNames) assert.ok(speeds[name]! > 0, name);
  assert.match(said, /^Uploaded [0-9]+ chunks in 0 seconds\.\nTime per request: [0-9]+ microseconds\.\nTLS speed: [0-9]+\.[0-9]{2} MB\/s\nSHA256 speed: .*\nCompression speed: .*\nDecompress speed: .*\nAES256\/GCM speed: .*\nVerify speed: .* MB\/s\n$/);
  const offline = await runBenchmark({ client: null, crypt: null, stderr, signal, scale: 0.001 });
  assert.equal(offline.tls, undefined);
  for (let tries = 0; tries < 200 && existsSync(join(server.path, 'host/benchmark')); tries += 1) await new Promise((resolve) => void setTimeout(resolve, 20));
  assert.ok(!existsSync(join(server.path, 'host/benchmark')));
  const controller = new AbortController();
  controller.abort();
  await assert.rejects(runBenchmark({ client: null, crypt: null, stderr, signal: controller.signal }), { code: 'aborted' });
});

test('a speed as it is shown', () => {
  assert.equal(speedCell('tls', 337_190_000), '337.19 MB/s (27%)');
  assert.equal(speedCell('compress', 321_930_000), '321.93 MB/s (43%)');
  assert.equal(speedCell('tls', undefined), 'not tested');
});
