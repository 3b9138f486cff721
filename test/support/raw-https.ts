import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { silentLog } from '../../src/base/log.ts';
import type { InstallationPaths } from '../../src/config/home.ts';
import type { ListenAddress } from '../../src/server/listen-address.ts';
import { listenTls, type Listener, type ListenerLimits } from '../../src/server/listener.ts';
import { WholeServer } from './whole-server.ts';

/** A TLS connection to a server on this host, for bytes that no client library would send. */
export async function rawHttps(port: number): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  // It may be reset at any time: that is what is tested.
  socket.on('error', () => {});
  await Promise.race([
    once(socket, 'secureConnect'),
    new Promise((_resolve, reject) => socket.once('close', () => reject(new Error('the server closed the connection before the handshake was over')))),
  ]);
  return socket;
}

/** Sends `pieces` and returns what comes back until `pattern` is in it, or, without one, until the server closes the connection. */
export async function converse(port: number, pieces: ReadonlyArray<string | Uint8Array>, pattern?: RegExp): Promise<string> {
  const socket = await rawHttps(port);
  let received = '';
  await new Promise<void>((resolve) => {
    socket.on('data', (piece: Buffer) => {
      received += piece.toString('latin1');
      if (pattern?.test(received) === true) resolve();
    });
    socket.once('close', () => resolve());
    for (const piece of pieces) socket.write(piece);
  });
  if (pattern !== undefined) assert.match(received, pattern);
  socket.destroy();
  return received;
}

export interface ListeningServer {
  server: WholeServer;
  listener: Listener;
  port: number;
}

/** A whole server of an installation with its HTTPS listener, in this process; ends with the test. */
export async function listeningServer(t: TestContext, limits: ListenerLimits = {}, prepare?: (paths: InstallationPaths) => Promise<void>): Promise<ListeningServer> {
  const server = await WholeServer.make(prepare === undefined ? {} : { prepare });
  const { router, certificates } = server.composition;
  const listener = await listenTls({ router, address: { host: '127.0.0.1', port: 0 }, certificate: certificates.current, log: silentLog, limits });
  t.after(async () => {
    await listener.close(0);
    await server[Symbol.asyncDispose]();
  });
  return { server, listener, port: (listener.address as ListenAddress).port };
}

/** The value of a header `Authorization` of a token of `user` with `role` on everything. */
export async function madeToken({ server }: ListeningServer, user: string, role: string): Promise<string> {
  const { router } = server.composition;
  const caller = { authId: 'root@pam', remoteAddress: 'unix' };
  const ok = async (method: 'POST' | 'PUT', path: string, parameters: Record<string, unknown>): Promise<unknown> => {
    const result = await router.call({ method, path, caller, parameters });
    assert.ok(result.ok, `${method} ${path}: ${JSON.stringify(result)}`);
    return result.data;
  };
  await ok('POST', '/access/users', { userid: user });
  const { value } = (await ok('POST', `/access/users/${user}/token/raw`, {})) as { value: string };
  for (const authId of [user, `${user}!raw`]) await ok('PUT', '/access/acl', { path: '/', role, 'auth-id': authId });
  return `PBSAPIToken=${user}!raw:${value}`;
}
