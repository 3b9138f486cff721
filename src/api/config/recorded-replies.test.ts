import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configApi } from '../../../test/support/config-api.ts';
import { readFixture } from '../../../test/support/golden.ts';

// The next run of a recorded job is in the recording server's time zone.
process.env['TZ'] = 'UTC';

interface Recorded {
  status: number;
  body: string | { data: unknown; digest?: string };
}

const recorded = JSON.parse(readFixture('api/config-replies.json').toString('utf8')) as Record<'source' | 'target', Record<string, Recorded>>;

/** Lists come in no certain order from the reference. */
function sorted(body: unknown, call: string): unknown {
  const { data, ...rest } = body as { data: unknown; digest?: string };
  // The paths in this file were changed after the recording, so its digest is another one.
  if (call.startsWith('GET /config/datastore')) rest.digest = rest.digest?.replace(/^[0-9a-f]{64}$/, 'a digest') ?? '';
  if (!Array.isArray(data)) return { ...rest, data };
  const text = (item: Record<string, unknown>): string => String(item['id'] ?? item['name']);
  return { ...rest, data: [...(data as Array<Record<string, unknown>>)].sort((a, b) => (text(a) < text(b) ? -1 : 1)) };
}

for (const side of ['source', 'target'] as const) {
  test(`recorded replies of the ${side}`, async (t) => {
    const { server } = await configApi(t, side);
    const calls = Object.entries(recorded[side]);
    assert.ok(calls.length >= 12);
    for (const [call, expected] of calls) {
      if (side === 'source' && call.startsWith('GET /admin/sync?')) continue;
      const answer = await server.http('admin@pbs', 'GET', `/api2/json${call.slice(4)}`);
      assert.equal(answer.status, expected.status, call);
      const text = answer.body.toString('utf8');
      if (typeof expected.body === 'string') assert.equal(text, expected.body, call);
      else assert.deepEqual(sorted(JSON.parse(text), call), sorted(expected.body, call), call);
    }
  });
}

test('of a job that never ran no status is made up', async (t) => {
  const { server } = await configApi(t, 'source');
  const answer = JSON.parse((await server.http('admin@pbs', 'GET', '/api2/json/admin/sync?sync-direction=all')).body.toString('utf8')) as { data: unknown };
  // The recording has the run as well, whose state file was not kept.
  const { 'last-run-endtime': _end, 'last-run-state': _state, 'last-run-upid': _upid, ...job } = (recorded.source['GET /admin/sync?sync-direction=all']!.body as { data: Array<Record<string, unknown>> }).data[0]!;
  assert.deepEqual(answer.data, [job]);
});
