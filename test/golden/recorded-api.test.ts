import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { coverageOf } from '../support/api-coverage.ts';
import { listedMethods } from '../support/api-schema.ts';
import { goldenDatastore, readFixture } from '../support/golden.ts';
import { unpackGoldenTasks } from '../support/golden-tasks.ts';
import { configFixtures } from '../support/installation.ts';
import { shapeDifferences, shapeOf, type Shape } from '../support/reply-shape.ts';
import { WholeServer } from '../support/whole-server.ts';

process.env['TZ'] = 'UTC';

type Recorded = { status: number } & ({ shape: Shape } | { subdirs: string[] } | { text: string });
type Side = 'source' | 'target';

const recorded = JSON.parse(readFixture('api/recorded-shapes.json').toString('utf8')) as Record<Side, Record<string, Recorded>>;
const stores: Record<Side, string[]> = { source: ['main'], target: ['offsite', 'pushed'] };

/** A server with the recorded configuration, and the golden datastore as each of its datastores. */
async function serverOf(t: TestContext, side: Side): Promise<{ server: WholeServer; port: number }> {
  const datastore = await goldenDatastore();
  const server = await WholeServer.make({
    prepare: async (paths) => {
      await cp(join(configFixtures, side), paths.config, { recursive: true });
      await writeFile(join(paths.config, 'datastore.cfg'), stores[side].map((name) => `datastore: ${name}\n\tpath ${datastore}\n`).join('\n'));
      if (side === 'target') {
        await unpackGoldenTasks('lib/jobstates/', paths.jobStates);
        await unpackGoldenTasks('log/tasks/', paths.tasks);
      }
    },
  });
  return { server, port: await server.serve(t, 'admin@pbs') };
}

/** What depends on the state of the recording server or of this host, and was not kept with the golden data. */
const ofTheMoment: readonly RegExp[] = [
  // The source's state files of jobs were not kept; the target never ran a garbage collection, the golden datastore knows of one.
  /^GET \/admin\/(?:datastore\/main\/gc|gc|sync\?sync-direction=all): data(?:\[\])?\.(?:duration|last-run-[a-z]+): not there$/,
  /^GET .*\.?cache-stats: only here$/,
  // Not every host has a search domain.
  /^GET \/nodes\/localhost\/dns: data\.search: (?:not there|only here)$/,
];

for (const side of ['source', 'target'] as const) {
  test(`every recorded reply of the ${side} has its status, envelope, fields and types`, async (t) => {
    const { server, port } = await serverOf(t, side);
    const missing = coverageOf(server.composition.router.endpoints)
      .filter(({ coverage }) => coverage === 'missing')
      .map(({ listed }) => listed.path);
    const isMissing = (path: string): boolean => missing.some((one) => one === path || one.startsWith(`${path}/`));
    const isListed = (path: string): boolean => listedMethods().some((one) => one.path === path || one.path.startsWith(`${path}/`));
    const differences: string[] = [];
    for (const [call, expected] of Object.entries(recorded[side])) {
      const target = call.slice('GET '.length);
      const generic = target.replace(/\?.*/, '').replace(/^\/admin\/datastore\/(?:main|offsite|nosuch)/, '/admin/datastore/{store}').replace(/^\/nodes\/localhost/, '/nodes/{node}');
      // The recorded remotes are on another network; replies of scans are tested where there is one.
      if (missing.includes(generic) || target.includes('/scan')) continue;
      const reply = await fetch(`http://127.0.0.1:${port}/api2/json${target}`);
      const body = await reply.text();
      const note = (what: string): void => void (ofTheMoment.some((one) => one.test(`${call}: ${what}`)) || differences.push(`${call}: ${what}`));
      if (reply.status !== expected.status) {
        note(`status ${reply.status} ${body.slice(0, 100)}`);
        continue;
      }
      if (reply.headers.get('content-type') !== 'application/json;charset=UTF-8') note(`content type ${reply.headers.get('content-type')}`);
      if ('text' in expected) {
        if (body !== expected.text) note(body);
      } else if ('subdirs' in expected) {
        const below = (name: string): string => `${generic === '/' ? '' : generic}/${name}`;
        const found = (JSON.parse(body) as { data: Array<{ subdir: string }> }).data.map(({ subdir }) => subdir);
        // What goes beyond the reference stands beside it.
        const names = found.filter((name) => expected.subdirs.includes(name) || isListed(below(name)));
        const wanted = expected.subdirs.filter((name) => names.includes(name) || !isMissing(below(name)));
        if (names.join(' ') !== wanted.join(' ')) note(`lists ${names.join(' ')}, recorded ${wanted.join(' ')}`);
      } else {
        for (const one of shapeDifferences(shapeOf(JSON.parse(body)), expected.shape)) note(one);
      }
    }
    assert.deepEqual(differences, []);
  });
}
