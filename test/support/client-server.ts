import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import type { Method } from '../../src/api/endpoint.ts';
import { compose } from '../../src/server/composition.ts';
import type { ListenAddress } from '../../src/server/listen-address.ts';
import { listenTls } from '../../src/server/listener.ts';
import { goldenDatastore, temporaryFolder, unpackGoldenDatastore } from './golden.ts';
import { temporaryInstallation } from './installation.ts';

/** Passwords of the recordings. */
export const clientPasswords = { 'admin@pbs': 'labsecret123', 'alice@pbs': 'alice-pw-1' } as const;

/** A whole server over the golden datastore, `main`, with the users that the reference's client was recorded with. */
export interface ClientServer {
  port: number;
  fingerprint: string;
  /** PEM: for a client that trusts it. */
  certificate: string;
  /** Folder of the datastore. */
  path: string;
  /** Secret of the token `admin@pbs!tok`. */
  tokenSecret: string;
}

/** `own`: the test may change the datastore. */
export async function clientServer(t: TestContext, options: { own?: boolean } = {}): Promise<ClientServer> {
  // Hooks run in the order of their registration: the server ends before its folders go.
  let stop = async (): Promise<void> => {};
  t.after(() => stop());
  const path = options.own === true ? await ownDatastore(t) : await goldenDatastore();
  const installation = await temporaryInstallation(t);
  await writeFile(join(installation.config, 'datastore.cfg'), `datastore: main\n\tpath ${path}\n\ttuning sync-level=none\n`);
  const complaints: string[] = [];
  const log = { ...silentLog, error: (line: string) => void complaints.push(line) };
  const composition = await compose({ installation, programVersion: '1.2.3', log, clock: systemClock, delays: { unauthorizedMs: 0, forbiddenMs: 0 } });
  const listener = await listenTls({ router: composition.router, address: { host: '127.0.0.1', port: 0 }, certificate: composition.certificates.current, log });
  stop = async () => {
    await listener.close(0);
    // A session whose client has just gone is still being cleaned up.
    await composition.close(5000);
    assert.deepEqual(complaints, [], 'the server has nothing to complain about');
  };
  const call = async (method: Method, callPath: string, parameters: Record<string, unknown>): Promise<unknown> => {
    const result = await composition.router.call({ method, path: callPath, caller: { authId: 'root@pam', remoteAddress: '::1' }, parameters });
    assert.ok(result.ok, `${method} ${callPath}: ${result.ok ? '' : result.message}`);
    return result.data;
  };
  for (const [userid, password] of Object.entries(clientPasswords)) await call('POST', '/access/users', { userid, password });
  const { value } = (await call('POST', '/access/users/admin@pbs/token/tok', {})) as { value: string };
  for (const authId of ['admin@pbs', 'admin@pbs!tok']) await call('PUT', '/access/acl', { path: '/', role: 'Admin', 'auth-id': authId });
  await call('PUT', '/access/acl', { path: '/datastore/main', role: 'DatastoreBackup', 'auth-id': 'alice@pbs' });
  const { port } = listener.address as ListenAddress;
  return { port, fingerprint: composition.certificates.current.fingerprint, certificate: composition.certificates.current.certificate, path, tokenSecret: value };
}

async function ownDatastore(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(() => folder[Symbol.asyncDispose]());
  const path = join(folder.path, 'main');
  await mkdir(path);
  await unpackGoldenDatastore(path);
  return path;
}
