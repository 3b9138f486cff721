/**
 * Measures syncs, backups and restores against their aims and against others who do the same job on this machine, side by side: `make bench`.
 *
 *   make bench BENCH="[--quick] [--only NAME ...] [--limit SECONDS] [--folder PATH] [--output-format text|json]"
 *
 * Syncs: source and target are two processes on loopback: the source is a server with its listener, router and reader sessions, the target the replication engine with
 * journal and datastore. The others: our engine held to one connection with twenty chunks in flight, `rsync -a`, and the reference where it can run. They are
 * ended after `--limit` (default 120 s) and then counted by how far they came; we have an hour. `--quick`: small sizes, to see that the bench works.
 * Backups and restores: our client and the reference's, each against a server process of ours. Load: a server with many clients at once. And the chunker by itself.
 * `--folder`: where the datastores lie, by default in memory where there is room. Tables go to stdout and the figures to build/bench.json, or, as JSON, to stdout.
 * Ends with status 1 if anybody failed; an aim that was missed is only said.
 */
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { errorChain } from '../src/base/errors.ts';
import { peerMissing } from '../test/support/peer.ts';
import { aimsOf, aimsOfChunker, aimsOfClient, aimsOfPush } from './aims.ts';
import { chunkerScenario, runChunker } from './chunker.ts';
import { runClientScenarios } from './client-runs.ts';
import { clientScenarios } from './client-scenarios.ts';
import { aimsOfLoad, loadScenario, loadText, runLoad, type LoadResult } from './load.ts';
import { runPullScenarios } from './pull-runs.ts';
import type { Aim, ClientRun, Measured, PullRun, ScenarioResult } from './result.ts';
import { pushScenarios, runPushScenarios } from './push-runs.ts';
import { scenarios } from './scenarios.ts';
import { aimTable, clientTable, resultTable } from './tables.ts';

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort(new Error(`ended by ${name}`)));

/** In memory only with this much free: source, a target, and what is open. */
const roomInMemory = 6 * 2 ** 30;
const resultFile = fileURLToPath(new URL('../build/bench.json', import.meta.url));

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    limit: { type: 'string', default: '120' },
    folder: { type: 'string' },
    'output-format': { type: 'string', default: 'text' },
  },
});
const limitMs = Number(values.limit) * 1000;
if (!(limitMs > 0)) throw new Error(`--limit '${values.limit}': a number of seconds`);
if (!['text', 'json'].includes(values['output-format'])) throw new Error(`--output-format '${values['output-format']}': text or json`);
const pulls = scenarios(values.quick);
const pushes = pushScenarios(values.quick);
const clients = clientScenarios(values.quick);
const chunker = chunkerScenario(values.quick);
const load = loadScenario(values.quick);
const names = [...pulls, ...pushes, ...clients, chunker, load].map(({ name }) => name);
const unknown = values.only.find((name) => !names.includes(name));
if (unknown !== undefined) throw new Error(`no scenario '${unknown}': ${names.join(', ')}`);

function chosen<S extends { name: string }>(all: readonly S[]): S[] {
  return all.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function roomFor(path: string): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize > roomInMemory;
  } catch {
    return false;
  }
}

const parent = values.folder ?? ((await roomFor('/dev/shm')) ? '/dev/shm' : tmpdir());
const folder = await mkdtemp(join(parent, 'farshore-bench-'));
const loadAtStart = loadavg()[0]!;
const pullResults: Array<ScenarioResult<Measured, PullRun>> = [];
const clientResults: Array<ScenarioResult<Measured, ClientRun>> = [];
const loadResults: LoadResult[] = [];
const aims: Aim[] = [];
try {
  const bench = { folder, limitMs, peerReason: peerMissing(), say, signal: interrupted.signal };
  for await (const result of runPullScenarios(chosen(pulls), bench)) {
    pullResults.push(result);
    aims.push(...aimsOf(result));
  }
  for await (const result of runPushScenarios(chosen(pushes), bench)) {
    pullResults.push(result);
    aims.push(...aimsOfPush(result));
  }
  for await (const result of runClientScenarios(chosen(clients), bench)) {
    clientResults.push(result);
    aims.push(...aimsOfClient(result));
  }
  for (const scenario of chosen([chunker])) {
    const result = runChunker(scenario);
    clientResults.push(result);
    aims.push(...aimsOfChunker(result));
  }
  for (const scenario of chosen([load])) {
    say(`${scenario.name}: ${scenario.title}`);
    const result = await runLoad(scenario, folder, interrupted.signal);
    loadResults.push(result);
    aims.push(...aimsOfLoad(result));
    if (result.counts.errors.length > 0) process.exitCode = 1;
  }
} catch (e) {
  if (!interrupted.signal.aborted) throw e;
  say(errorChain(interrupted.signal.reason));
  process.exitCode = 130;
} finally {
  await rm(folder, { recursive: true, force: true });
}

const results = [...pullResults, ...clientResults];
const machine = { cores: availableParallelism(), processor: cpus()[0]?.model ?? '', kernel: release(), node: process.version, datastores: parent, load: loadAtStart };
const json = `${JSON.stringify({ quick: values.quick, machine, results, load: loadResults, aims }, null, 2)}\n`;
if (values['output-format'] === 'json') process.stdout.write(json);
else {
  if (!interrupted.signal.aborted) {
    await mkdir(join(resultFile, '..'), { recursive: true });
    await writeFile(resultFile, json);
  }
  process.stdout.write(`${machine.cores} cores (${machine.processor}), Linux ${machine.kernel}, Node ${machine.node}, datastores in ${parent}, load ${loadAtStart.toFixed(1)} at the start\n`);
  for (const { scenario } of results) process.stdout.write(`${scenario.name}: ${scenario.title}\n`);
  if (pullResults.length > 0) process.stdout.write(resultTable(pullResults));
  if (clientResults.length > 0) process.stdout.write(clientTable(clientResults));
  for (const result of loadResults) process.stdout.write(loadText(result));
  process.stdout.write(aimTable(aims));
  if (values.quick) process.stdout.write('--quick: the sizes are too small for the aims to say anything\n');
}
