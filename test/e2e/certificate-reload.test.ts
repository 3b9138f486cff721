import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeCertificate } from '../support/certificate.ts';
import { datastoreFolder, FarshoreHost } from '../support/farshore-host.ts';
import { rawHttps } from '../support/raw-https.ts';

async function served(host: FarshoreHost): Promise<string> {
  const socket = await rawHttps(host.port);
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256.toLowerCase();
}

async function until(reached: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await reached())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('SIGHUP: a renewed certificate is served without a restart, one that does not fit its key is not, and the server says so', async () => {
  await using room = await datastoreFolder();
  await using host = new FarshoreHost(join(room.path, 'home'));
  await host.start();
  assert.equal(await served(host), host.fingerprint);
  const renewed = await makeCertificate();
  await writeFile(join(host.home, 'etc', 'proxy.pem'), renewed.cert);
  process.kill(host.pid, 'SIGHUP');
  await until(() => host.log.some((line) => / ERROR certificate not read anew: .*proxy\.key is not the key of /.test(line)));
  assert.equal(await served(host), host.fingerprint);
  await writeFile(join(host.home, 'etc', 'proxy.key'), renewed.key);
  process.kill(host.pid, 'SIGHUP');
  await until(async () => (await served(host)) === renewed.fingerprint);
  await host.ok('user', 'list');
  assert.deepEqual(await host.stop(), { code: 0, signal: null });
});
