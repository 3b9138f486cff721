import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Agent, createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { makeCsrfToken } from '../../src/access/csrf.ts';
import { loadServerKeys } from '../../src/access/server-keys.ts';
import { signTicket } from '../../src/access/ticket.ts';
import type { Endpoint } from '../../src/api/endpoint.ts';
import { roles } from '../../src/config/privileges.ts';
import { labelOf, listedMethods, listedPermission, type ListedPermission } from '../support/api-schema.ts';
import { WholeServer } from '../support/whole-server.ts';

/**
 * Every endpoint, asked by nobody, by a user without rights, by tokens that are narrower than their users, and by a user of each role. Who
 * is let in must be what the reference's permission says, evaluated here in another way than in the server. A parameter that no endpoint has
 * keeps handlers from running: permissions are checked before parameters.
 */

const others = 'victim@pbs';
const roleUser = (role: string): string => `${role.toLowerCase()}@pbs`;

const server = await WholeServer.make({
  prepare: async (paths) => {
    const users = [others, 'nothing@pbs', 'owner@pbs', 'limited@pbs', ...roles.map(({ name }) => roleUser(name))];
    const tokens = ['owner@pbs!bare', 'owner@pbs!narrow', 'limited@pbs!wide'];
    await writeFile(join(paths.config, 'user.cfg'), [...users.map((id) => `user: ${id}\n`), ...tokens.map((id) => `token: ${id}\n`)].join('\n'));
    const entries = [
      ...roles.map(({ name }) => `acl:1:/:${roleUser(name)}:${name}`),
      'acl:1:/:owner@pbs:Admin',
      'acl:1:/datastore/elsewhere:owner@pbs!narrow:DatastoreAdmin',
      'acl:1:/:limited@pbs!wide:Admin',
      'acl:1:/datastore/elsewhere:limited@pbs:DatastoreReader',
    ];
    await writeFile(join(paths.config, 'acl.cfg'), `${entries.join('\n')}\n`);
  },
});
const { router } = server.composition;
const keys = await loadServerKeys(server.paths);
const http = createServer((request, response) => void router.handle(request, response));
http.listen(0, '127.0.0.1');
await once(http, 'listening');
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
after(async () => {
  agent.destroy();
  http.close();
  http.closeAllConnections();
  await server[Symbol.asyncDispose]();
});

const listed = new Map(listedMethods().map((one) => [labelOf(one), one.permission]));
/** What the reference declares, or for what goes beyond it, what we do. */
const wantedOf = (endpoint: Endpoint): ListedPermission => listed.get(labelOf(endpoint)) ?? listedPermission(endpoint.permission);

/** The path with something for each of its variables. */
function filled(path: string): string {
  return path.replace(/\{([a-z0-9-]+)\}/g, (_, name: string) => (name === 'userid' ? encodeURIComponent(others) : name === 'node' ? 'localhost' : 'some-id'));
}

/** Whether somebody with these privileges on every path is let in. `self`: asked by whom the path names. */
function lets(permission: ListedPermission, privileges: ReadonlySet<string>, self = false): boolean {
  if (permission === 'any' || permission === 'public') return true;
  if (permission === 'root') return false;
  if ('self' in permission) return self;
  if ('or' in permission) return permission.or.some((one) => lets(one, privileges, self));
  if ('and' in permission) return permission.and.every((one) => lets(one, privileges, self));
  return permission.partial === true ? permission.privileges.some((one) => privileges.has(one)) : permission.privileges.every((one) => privileges.has(one));
}

/** Whether the router lets `authId` in. */
async function isLetIn(endpoint: Endpoint, authId: string): Promise<boolean> {
  const result = await router.call({ method: endpoint.method, path: filled(endpoint.path), caller: { authId, remoteAddress: '127.0.0.1' }, parameters: { 'no-such-parameter': 1 } });
  return result.ok || result.status !== 403 || result.message !== 'permission check failed';
}

async function answer(method: string, path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  const { port } = http.address() as AddressInfo;
  const request = httpRequest({ host: '127.0.0.1', port, method, path: `/api2/json${path}?no-such-parameter=1`, headers, agent });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode!, body: await text(response) };
}

test('all endpoints are walked', () => {
  assert.ok(router.endpoints.length > 250, String(router.endpoints.length));
});

test('without credentials only public endpoints answer', async () => {
  const wrong: string[] = [];
  for (const endpoint of router.endpoints) {
    const { status, body } = await answer(endpoint.method, filled(endpoint.path));
    const refused = status === 401 && body === 'authentication failed';
    if (refused === (wantedOf(endpoint) === 'public')) wrong.push(`${labelOf(endpoint)}: ${status} ${body}`);
  }
  assert.deepEqual(wrong, []);
  const open = router.endpoints.filter((endpoint) => wantedOf(endpoint) === 'public' && !listed.has(labelOf(endpoint))).map(labelOf);
  assert.deepEqual(open, [], 'nothing beyond the reference is public');
});

test('a user without rights gets what is open to all, and nothing else', async () => {
  const nowMs = Date.now();
  const cookie = `PBSAuthCookie=${encodeURIComponent(signTicket(keys.ticketSigningKey, 'nothing@pbs', nowMs))}`;
  const csrfpreventiontoken = makeCsrfToken(keys.csrfKey, 'nothing@pbs', nowMs);
  const wrong: string[] = [];
  for (const endpoint of router.endpoints) {
    const { status, body } = await answer(endpoint.method, filled(endpoint.path), { cookie, csrfpreventiontoken });
    const refused = status === 403 && body === 'permission check failed';
    if (refused === lets(wantedOf(endpoint), new Set())) wrong.push(`${labelOf(endpoint)}: ${status} ${body}`);
    if (endpoint.method === 'GET' || wantedOf(endpoint) === 'public') continue;
    const forged = await answer(endpoint.method, filled(endpoint.path), { cookie });
    if (forged.status !== 401) wrong.push(`${labelOf(endpoint)} without CSRF token: ${forged.status} ${forged.body}`);
  }
  assert.deepEqual(wrong, []);
});

for (const { name, privileges } of roles) {
  test(`a user with role ${name} on / is let in where the reference lets him`, async () => {
    const wrong: string[] = [];
    for (const endpoint of router.endpoints) {
      const wanted = lets(wantedOf(endpoint), new Set(privileges));
      if ((await isLetIn(endpoint, roleUser(name))) !== wanted) wrong.push(`${labelOf(endpoint)}: ${wanted ? 'refused' : 'let in'}`);
    }
    assert.deepEqual(wrong, []);
  });
}

test('a token has no more than its own entries and its user both give, and is never its user', async () => {
  const wrong: string[] = [];
  for (const endpoint of router.endpoints) {
    const wanted = lets(wantedOf(endpoint), new Set());
    for (const token of ['owner@pbs!bare', 'owner@pbs!narrow', 'limited@pbs!wide', `${others}!own`, 'root@pam!bare']) {
      if ((await isLetIn(endpoint, token)) !== wanted) wrong.push(`${labelOf(endpoint)} as ${token}: ${wanted ? 'refused' : 'let in'}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('what names a user is open to that user, and the superuser passes everywhere', async () => {
  const wrong: string[] = [];
  for (const endpoint of router.endpoints) {
    const wanted = lets(wantedOf(endpoint), new Set(), endpoint.path.includes('{userid}'));
    if ((await isLetIn(endpoint, others)) !== wanted) wrong.push(`${labelOf(endpoint)} as ${others}`);
    if (!(await isLetIn(endpoint, 'root@pam'))) wrong.push(`${labelOf(endpoint)} as root@pam`);
  }
  assert.deepEqual(wrong, []);
});
