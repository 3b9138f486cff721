import assert from 'node:assert/strict';
import { test } from 'node:test';
import { edgesOf, findLoop, loopError, type ReplicationEdge } from './loops.ts';

const instances: Record<string, string> = { A: 'a'.repeat(32), B: 'b'.repeat(32), C: 'c'.repeat(32) };

/** `A:main/ns B:copy/x`, with levels. */
function edge(from: string, to: string, change: Partial<ReplicationEdge> = {}): ReplicationEdge {
  const parts = (text: string): [string, string, string] => {
    const [instance = '', path = ''] = text.split(':');
    const [store = '', ...ns] = path.split('/');
    return [instances[instance]!, store, ns.join('/')];
  };
  const [a, b] = [parts(from), parts(to)];
  return { 'from-instance': a[0], 'from-store': a[1], 'from-ns': a[2], 'to-instance': b[0], 'to-store': b[1], 'to-ns': b[2], ...change };
}

test('circles are found over any number of stations, and only circles', () => {
  const [ab, bc, ca] = [edge('A:m', 'B:m'), edge('B:m', 'C:m'), edge('C:m', 'A:m')];
  assert.equal(findLoop(ab, [bc]), null);
  assert.deepEqual(findLoop(ab, [bc, ca]), [bc, ca]);
  assert.deepEqual(findLoop(ab, [edge('B:m', 'A:m')]), [edge('B:m', 'A:m')]);
  assert.equal(findLoop(ab, [ab, edge('A:m', 'C:m'), bc]), null, 'fan-out and relay');
  assert.equal(findLoop(ab, [edge('B:other', 'A:m')]), null, 'another datastore');
  assert.deepEqual(findLoop(edge('A:m', 'A:n'), [edge('A:n', 'A:m')])?.length, 1, 'within one server');
  assert.match(loopError(ab, [bc, ca], instances['B']!).message, /m on server aaaaaaaa → m → m on server cccccccc → m on server aaaaaaaa$/);
});

test('namespaces keep ways apart, by name and by depth', () => {
  const into = edge('A:m', 'B:m/from-a');
  assert.equal(findLoop(into, [edge('B:m/local', 'A:m/from-b')]), null, 'each keeps the own ones of the other');
  assert.equal(findLoop(into, [edge('B:m', 'A:m/from-b')])?.length, 1, 'the copies of the copies would be copied');
  assert.equal(findLoop(into, [edge('B:m', 'A:m/from-b', { 'max-depth': 0 })]), null, 'the root only');
  assert.equal(findLoop(edge('A:m', 'B:m', { 'max-depth': 0 }), [edge('B:m', 'A:m/x', { 'max-depth': 0 })]), null);
});

test('a peer is told of everything upstream, or downstream, not of other datastores', () => {
  const [ab, bc, other] = [edge('A:m', 'B:m'), edge('B:m', 'C:m'), edge('A:x', 'C:x')];
  assert.deepEqual(edgesOf(instances['C']!, 'm', 'in', [ab, other, bc, edge('C:m', 'A:z')]), [bc, ab]);
  assert.deepEqual(edgesOf(instances['A']!, 'm', 'out', [bc, other, ab, edge('C:m', 'A:z'), edge('B:x', 'A:m')]).length, 3);
  assert.deepEqual(edgesOf(instances['C']!, 'm', 'in', [bc, edge('C:m', 'B:m')]).length, 2, 'a circle ends');
});
