import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { makeCertificate } from '../../test/support/certificate.ts';
import { WholeServer } from '../../test/support/whole-server.ts';
import { silentLog } from '../base/log.ts';
import type { ListenAddress } from './listen-address.ts';
import { listenTls } from './listener.ts';

const root = { authId: 'root@pam', remoteAddress: 'unix' };
const path = '/nodes/localhost/certificates/custom';

/** Fingerprint that a client sees. */
async function served(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256.toLowerCase();
}

async function ground(t: TestContext): Promise<{ server: WholeServer; port: number }> {
  const server = await WholeServer.make();
  const { router, certificates } = server.composition;
  const tls = await listenTls({ router, address: { host: '127.0.0.1', port: 0 }, certificate: certificates.current, log: silentLog });
  certificates.onChange((certificate) => tls.setCertificate(certificate));
  t.after(async () => {
    await tls.close(0);
    await server[Symbol.asyncDispose]();
  });
  return { server, port: (tls.address as ListenAddress).port };
}

test('an uploaded certificate is served at once, and so is the new one after its removal', async (t) => {
  const { server, port } = await ground(t);
  const { router, certificates } = server.composition;
  const own = certificates.current.fingerprint;
  assert.equal(await served(port), own);

  const other = await makeCertificate();
  const uploaded = await router.call({ method: 'POST', path, caller: root, parameters: { certificates: other.cert, key: other.key } });
  assert.ok(uploaded.ok, JSON.stringify(uploaded));
  assert.equal((uploaded.data as Array<{ fingerprint: string }>)[0]!.fingerprint, other.fingerprint);
  assert.equal(await served(port), other.fingerprint);
  assert.equal(await readFile(join(server.paths.config, 'proxy.pem'), 'utf8'), other.cert);

  const removed = await router.call({ method: 'DELETE', path, caller: root });
  assert.ok(removed.ok);
  const third = await served(port);
  assert.ok(third !== other.fingerprint && third !== own);
  assert.equal(certificates.current.fingerprint, third);
});

test('what does not fit is refused and nothing changes', async (t) => {
  const { server, port } = await ground(t);
  const { router, certificates } = server.composition;
  const own = certificates.current;
  const [one, two] = [await makeCertificate(), await makeCertificate()];
  const refused: Array<Record<string, unknown>> = [{ certificates: 'nonsense' }, { certificates: one.cert }, { certificates: one.cert, key: two.key }, { certificates: one.cert, key: 'nonsense' }];
  for (const parameters of refused) {
    const result = await router.call({ method: 'POST', path, caller: root, parameters });
    assert.ok(!result.ok && result.status === 400, JSON.stringify(result));
  }
  assert.equal(await served(port), own.fingerprint);
  assert.equal(await readFile(join(server.paths.config, 'proxy.key'), 'utf8'), own.key);
  const renewed = await router.call({ method: 'POST', path, caller: root, parameters: { certificates: own.certificate } });
  assert.ok(renewed.ok, 'a certificate of the present key needs no key');
});

test('a key that cannot be followed by its certificate is taken back', async (t) => {
  const { server } = await ground(t);
  const { certificates } = server.composition;
  const own = certificates.current;
  const other = await makeCertificate();
  const pem = join(server.paths.config, 'proxy.pem');
  await rm(pem);
  await mkdir(join(pem, 'in-the-way'), { recursive: true });
  await assert.rejects(certificates.install(other.cert, other.key), { code: 'config.write' });
  assert.equal(await readFile(join(server.paths.config, 'proxy.key'), 'utf8'), own.key);
  await rm(pem, { recursive: true });
  await writeFile(pem, own.certificate);
});

test('files that somebody renewed are served when they are read anew, a pair that does not fit is not', async (t) => {
  const { server, port } = await ground(t);
  const { certificates } = server.composition;
  const own = certificates.current.fingerprint;
  const other = await makeCertificate();
  await writeFile(join(server.paths.config, 'proxy.pem'), other.cert);
  await assert.rejects(certificates.reload(), { code: 'config.certificate' });
  assert.equal(await served(port), own);
  await writeFile(join(server.paths.config, 'proxy.key'), other.key);
  await certificates.reload();
  assert.equal(await served(port), other.fingerprint);
});
