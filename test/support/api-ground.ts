import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { AccessControl } from '../../src/access/access-control.ts';
import type { Caller, Endpoint, Method, Permission } from '../../src/api/endpoint.ts';
import { Datastores } from '../../src/api/datastores.ts';
import type { Gatekeeper } from '../../src/api/gatekeeper.ts';
import { Router, type CallResult } from '../../src/api/router.ts';
import { registerValueFormats } from '../../src/api/value-formats.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { aclFile } from '../../src/config/acl-config.ts';
import { datastoreTable } from '../../src/config/datastore-config.ts';
import type { InstallationPaths } from '../../src/config/home.ts';
import type { Privilege } from '../../src/config/privileges.ts';
import { JobStates } from '../../src/schedule/job-states.ts';
import type { JobGround } from '../../src/schedule/job-run.ts';
import { WorkerTasks } from '../../src/schedule/worker-tasks.ts';
import type { TaskResult } from '../../src/schedule/worker-task.ts';
import { temporaryInstallation } from './installation.ts';

/** What API endpoints stand on, over a temporary installation with the recorded accounts and ACL of a server. */
export interface ApiGround {
  paths: InstallationPaths;
  access: AccessControl;
  datastores: Datastores;
  tasks: WorkerTasks;
  ground: JobGround;
  /** Lines of the server's log that say something is wrong. */
  complaints: string[];
  /** How a task ended, and its log without the times. */
  ended(upid: string): Promise<{ result: TaskResult; lines: string[] }>;
}

/** `stores`: name to folder. */
export async function apiGround(t: TestContext, golden: 'source' | 'target', stores: Readonly<Record<string, string>>): Promise<ApiGround> {
  registerValueFormats();
  // Hooks run in the order in which they were made: this one before the one that removes the folder.
  const close = Promise.withResolvers<() => Promise<void>>();
  t.after(async () => (await close.promise)());
  const paths = await temporaryInstallation(t, golden);
  await writeFile(join(paths.config, 'datastore.cfg'), Object.entries(stores).map(([name, path]) => `datastore: ${name}\n\tpath ${path}\n\ttuning sync-level=none\n`).join('\n'));
  const complaints: string[] = [];
  const log = { ...silentLog, warn: (line: string) => complaints.push(line), error: (line: string) => complaints.push(line) };
  const tasks = new WorkerTasks({ folder: { path: paths.tasks, owner: null }, node: 'host', clock: systemClock, log });
  const states = new JobStates({ path: paths.jobStates, owner: null }, tasks, systemClock);
  const datastores = new Datastores(datastoreTable(paths), { locksRoot: paths.locks, log });
  close.resolve(async () => {
    await tasks.shutdown(1000);
    await datastores.closeAll();
  });
  return {
    paths,
    access: new AccessControl(aclFile(paths)),
    datastores,
    tasks,
    ground: { states, tasks, log },
    complaints,
    ended: async (upid) => {
      for (;;) {
        const result = await tasks.result(upid);
        const lines = (await readFile(tasks.logPath(upid), 'utf8')).trimEnd().split('\n').map((line) => line.slice(line.indexOf(': ') + 2));
        // The list says so first; what hangs on the end of the task in this process follows.
        if (result !== null && !tasks.running().some((one) => one.upid === upid)) return { result, lines };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

/** Who asks is what the `Authorization` header says: an auth-id, or an API token with a secret that nobody checks. */
export function testGatekeeper(access: AccessControl): Gatekeeper {
  return {
    authenticate: ({ headers: { authorization } }) => Promise.resolve(authorization === undefined ? null : { authId: authorization.replace(/^PBSAPIToken[= ]([^:]*):.*$/, '$1'), remoteAddress: '::1' }),
    allowed: (permission, caller, uri) => Promise.resolve(allows(access, permission, caller, uri)),
  };
}

function allows(access: AccessControl, permission: Permission, caller: Caller, uri: Readonly<Record<string, string>>): boolean {
  switch (permission.kind) {
    case 'public':
    case 'any':
      return true;
    case 'root':
      return caller.authId === 'root@pam';
    case 'self':
      return uri['userid'] === caller.authId;
    case 'privilege': {
      const path = permission.path.replace(/\{([^}]+)\}/g, (_, name: string) => uri[name] ?? '');
      return access.check(caller.authId, path, permission.privileges as readonly Privilege[], permission.partial === undefined ? {} : { partial: permission.partial });
    }
    case 'and':
      return permission.of.every((one) => allows(access, one, caller, uri));
    case 'or':
      return permission.of.some((one) => allows(access, one, caller, uri));
  }
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export interface TestServer {
  router: Router;
  port: number;
  /** As `router.call`, by whom `as` names. */
  call(as: string, method: Method, path: string, parameters?: Record<string, unknown>): Promise<CallResult>;
  /** A call that must succeed; its data. */
  data(as: string, method: Method, path: string, parameters?: Record<string, unknown>): Promise<unknown>;
  /** A call that must fail: `400 text`. */
  refusal(as: string, method: Method, path: string, parameters?: Record<string, unknown>): Promise<string>;
  http(as: string, method: string, target: string, body?: Buffer): Promise<HttpAnswer>;
  /** The socket of an upgraded connection, or the answer. */
  upgrade(as: string, target: string, protocol: string | null): Promise<Duplex | HttpAnswer>;
}

/** The endpoints behind a router and a real HTTP server, without TLS. */
export async function testServer(t: TestContext, { access }: Pick<ApiGround, 'access'>, endpoints: readonly Endpoint[]): Promise<TestServer> {
  const failures: string[] = [];
  const router = new Router({ endpoints, gatekeeper: testGatekeeper(access), log: { ...silentLog, error: (line) => failures.push(line) }, delays: { unauthorizedMs: 0, forbiddenMs: 0 } });
  const server = createServer({ shouldUpgradeCallback: (request: IncomingMessage) => router.wantsUpgrade(request) }, (request, response) => void router.handle(request, response));
  server.on('upgrade', (request, socket, head) => {
    void router.upgrade(request, socket, head).then((outcome) => {
      if (outcome === 'answered') server.emit('connection', socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = new Set<Duplex>();
  t.after(() => {
    server.close();
    server.closeAllConnections();
    for (const socket of sockets) socket.destroy();
    assert.deepEqual(failures, [], 'no handler may fail in an unexpected way');
  });
  const call: TestServer['call'] = (as, method, path, parameters = {}) => router.call({ method, path, caller: { authId: as, remoteAddress: '::1' }, parameters });
  return {
    router,
    port,
    call,
    data: async (as, method, path, parameters) => {
      const result = await call(as, method, path, parameters);
      assert.ok(result.ok, `${method} ${path}: ${result.ok ? '' : `${result.status} ${result.message}`}`);
      return result.data;
    },
    refusal: async (as, method, path, parameters) => {
      const result = await call(as, method, path, parameters);
      assert.ok(!result.ok, `${method} ${path} was allowed for ${as}`);
      return `${result.status} ${result.message}`;
    },
    http: async (as, method, target, body) => {
      const request = httpRequest({ port, host: '127.0.0.1', method, path: target, headers: { authorization: as }, agent: false });
      request.end(body);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return { status: response.statusCode!, headers: response.headers, body: await buffer(response) };
    },
    upgrade: async (as, target, protocol) => {
      const request = httpRequest({ port, host: '127.0.0.1', path: target, headers: { authorization: as, ...(protocol === null ? {} : { connection: 'upgrade', upgrade: protocol }) }, agent: false });
      const answered = new Promise<Duplex | HttpAnswer>((resolve, reject) => {
        request.once('error', reject);
        request.once('upgrade', (_response, socket, head) => {
          if (head.length > 0) socket.unshift(head);
          sockets.add(socket);
          resolve(socket);
        });
        request.once('response', (response) => void buffer(response).then((body) => resolve({ status: response.statusCode!, headers: response.headers, body }), reject));
      });
      request.end();
      return answered;
    },
  };
}
