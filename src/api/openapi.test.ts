import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { WholeServer } from '../../test/support/whole-server.ts';
import { openApiDocument } from './openapi.ts';

const server = await WholeServer.make();
const { router } = server.composition;
const http = createServer((request, response) => void router.handle(request, response));
http.listen(0, '127.0.0.1');
await once(http, 'listening');
const base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
after(async () => {
  http.close();
  http.closeAllConnections();
  await server[Symbol.asyncDispose]();
});

interface Operation {
  operationId: string;
  summary: string;
  security: object[];
  parameters?: Array<{ name: string; in: string; required: boolean; schema: { type: string } }>;
  requestBody?: { content: Record<string, { schema: { properties: Record<string, object>; required?: string[] } }> };
}

test('every endpoint is described with all of its parameters', () => {
  const document = openApiDocument(router.endpoints, '1.2.3');
  const seen = new Set<string>();
  for (const endpoint of router.endpoints) {
    const operation = document.paths[endpoint.path]![endpoint.method.toLowerCase()] as unknown as Operation;
    const label = `${endpoint.method} ${endpoint.path}`;
    assert.ok(!seen.has(operation.operationId), operation.operationId);
    seen.add(operation.operationId);
    assert.equal(operation.summary, endpoint.description, label);
    assert.equal(operation.security.length === 0, endpoint.permission.kind === 'public', label);
    const body = operation.requestBody?.content['application/json']!.schema;
    const named = [...(operation.parameters ?? []).map(({ name }) => name), ...Object.keys(body?.properties ?? {})].sort();
    assert.deepEqual(named, Object.keys(endpoint.parameters.properties).sort(), label);
    const required = [...(operation.parameters ?? []).filter((one) => one.required).map(({ name }) => name), ...(body?.required ?? [])].sort();
    assert.deepEqual(required, [...((endpoint.parameters.required as string[] | undefined) ?? [])].sort(), label);
    for (const variable of endpoint.path.matchAll(/\{([^}]+)\}/g)) assert.equal(operation.parameters!.find(({ name }) => name === variable[1])!.in, 'path', label);
    for (const { name, schema } of operation.parameters ?? []) assert.equal(typeof schema.type, 'string', `${label} ${name}`);
  }
  assert.equal(seen.size, router.endpoints.length);
});

test('document and viewer are served, with a strict policy, and the viewer loads only from here', async () => {
  const document = (await (await fetch(`${base}/openapi.json`)).json()) as { openapi: string; paths: Record<string, object> };
  assert.equal(document.openapi, '3.1.0');
  assert.ok('/admin/datastore/{store}/snapshots' in document.paths);
  const page = await fetch(`${base}/api-viewer`);
  assert.equal(page.headers.get('content-type'), 'text/html;charset=UTF-8');
  assert.match(page.headers.get('content-security-policy')!, /^default-src 'none'; script-src 'self';/);
  const html = await page.text();
  assert.doesNotMatch(html, /<script>|style=|\son[a-z]+=|https?:/);
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
  assert.deepEqual(links.toSorted(), ['/api-viewer/viewer.css', '/api-viewer/viewer.js', '/openapi.json']);
  for (const link of links) {
    const linked = await fetch(base + link);
    assert.equal(linked.status, 200, link);
    assert.equal(linked.headers.get('x-content-type-options'), 'nosniff');
    if (link !== '/openapi.json') assert.doesNotMatch(await linked.text(), /innerHTML|https?:\/\//, link);
  }
  assert.equal((await fetch(`${base}/api-viewer/nosuch`)).status, 404);
  assert.equal((await fetch(`${base}/api-viewer/..%2fopenapi.ts`)).status, 400);
});
