/**
 * Measures a sync against its aims and against others who do the same job on this machine, side by side: `make bench`.
 *
 *   make bench BENCH="[--quick] [--only NAME ...] [--limit SECONDS] [--folder PATH] [--output-format text|json]"
 *
 * Source and target are two processes on loopback: the source is a server with its listener, router and reader sessions, the target the replication engine with
 * journal and datastore. The others: our engine held to one connection with twenty chunks in flight, `rsync -a`, and the reference where it can run. They are
 * ended after `--limit` (default 120 s) and then counted by how far they came; we have an hour. `--quick`: small sizes, to see that the bench works.
 * `--folder`: where the datastores lie, by default in memory where there is room. Tables go to stdout and the figures to build/bench.json, or, as JSON, to stdout.
 * Ends with status 1 if anybody failed; an aim that was missed is only said.
 */
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { errorChain } from '../src/base/errors.ts';
import { DelayProxy } from '../test/support/delay-proxy.ts';
import { peerMissing } from '../test/support/peer.ts';
import { aimsOf } from './aims.ts';
import type { Contestant } from './contestant.ts';
import { makeSource } from './made-source.ts';
import { oneConnection, openOurs } from './our-pull.ts';
import { openPeer } from './peer-pull.ts';
import { compare, rateOf, type Run, type ScenarioResult, type Who } from './result.ts';
import { openRsync, rsyncMissing } from './rsync-pull.ts';
import { scenarios, type Scenario } from './scenarios.ts';
import { SourceServer } from './source-server.ts';
import { stockOf } from './stock.ts';
import { aimTable, resultTable } from './tables.ts';

const ourLimitMs = 3_600_000;
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
const all = scenarios(values.quick);
const unknown = values.only.find((name) => !all.some((scenario) => scenario.name === name));
if (unknown !== undefined) throw new Error(`no scenario '${unknown}': ${all.map(({ name }) => name).join(', ')}`);
const chosen = all.filter(({ name }) => values.only.length === 0 || values.only.includes(name));

interface Entry {
  who: Who;
  limitMs: number;
  missing: string | null;
  open(source: SourceServer, folder: string): Promise<Contestant>;
}

const peerReason = peerMissing();
const rsyncReason = rsyncMissing();

function entries(scenario: Scenario): Entry[] {
  return [
    { who: 'farshore', limitMs: ourLimitMs, missing: null, open: (source, folder) => openOurs(source, folder) },
    ...(scenario.oneConnection ? [{ who: 'one connection', limitMs, missing: null, open: (source, folder) => openOurs(source, folder, oneConnection) } satisfies Entry] : []),
    { who: 'rsync', limitMs, missing: rsyncReason, open: openRsync },
    { who: 'reference', limitMs, missing: peerReason, open: (source) => openPeer(source) },
  ];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function runEntry(entry: Entry, scenario: Scenario, source: SourceServer, folder: string): Promise<Run> {
  await using contestant = await entry.open(source, join(folder, 'contestant'));
  if (scenario.again) {
    const { finished } = await contestant.pull(contestant.servicePort, ourLimitMs, interrupted.signal);
    if (!finished) throw new Error('the first run did not finish');
  }
  // What the source's process did until now does not count.
  await source.figures();
  await using proxy = scenario.line === null ? null : await DelayProxy.start({ target: { host: '127.0.0.1', port: contestant.servicePort }, host: listenAddress, ...scenario.line });
  const { seconds, finished, figures } = await contestant.pull(proxy?.port ?? contestant.servicePort, entry.limitMs, interrupted.signal);
  const sourceFigures = await source.figures();
  const stock = await stockOf(contestant.target);
  return {
    who: entry.who,
    seconds,
    finished,
    stock,
    rate: rateOf(scenario.measure, stock, seconds),
    oursIsFaster: null,
    figures,
    source: entry.who === 'rsync' ? null : sourceFigures,
    connections: proxy?.connections ?? null,
  };
}

async function runScenario(scenario: Scenario, sourcePath: string, folder: string): Promise<ScenarioResult> {
  const result: ScenarioResult = { scenario, runs: [], missing: [] };
  const whole = await stockOf(sourcePath);
  // A process of its own for each scenario, so that its figures are of this one.
  await using source = await SourceServer.start(sourcePath, listenAddress);
  for (const entry of entries(scenario)) {
    if (entry.missing !== null) {
      result.missing.push({ who: entry.who, reason: entry.missing });
      continue;
    }
    say(`${scenario.name}: ${entry.who}`);
    try {
      const run = await runEntry(entry, scenario, source, folder);
      // The reference's datastore holds a chunk of its own from the start, of a check of access times.
      if (run.finished && (run.stock.snapshots !== whole.snapshots || run.stock.chunkBytes < whole.chunkBytes)) throw new Error(`ended without error, but with ${JSON.stringify(run.stock)} of ${JSON.stringify(whole)}`);
      result.runs.push(run);
    } catch (e) {
      interrupted.signal.throwIfAborted();
      say(`${scenario.name}: ${entry.who} failed: ${errorChain(e)}`);
      result.missing.push({ who: entry.who, reason: 'failed', error: errorChain(e) });
      process.exitCode = 1;
    }
  }
  compare(result.runs);
  return result;
}

async function roomFor(path: string): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize > roomInMemory;
  } catch {
    return false;
  }
}

/** The reference comes from a network of its own. */
const listenAddress = peerReason === null ? '0.0.0.0' : '127.0.0.1';
const parent = values.folder ?? ((await roomFor('/dev/shm')) ? '/dev/shm' : tmpdir());
const folder = await mkdtemp(join(parent, 'farshore-bench-'));
const results: ScenarioResult[] = [];
try {
  const sourcePath = join(folder, 'source');
  let made: string | null = null;
  for (const scenario of chosen) {
    const content = JSON.stringify(scenario.content);
    if (made !== content) {
      say(`${scenario.name}: making the source, ${scenario.title}`);
      await rm(sourcePath, { recursive: true, force: true });
      await makeSource(sourcePath, scenario.content);
      made = content;
    }
    results.push(await runScenario(scenario, sourcePath, folder));
  }
} catch (e) {
  if (!interrupted.signal.aborted) throw e;
  say(errorChain(interrupted.signal.reason));
  process.exitCode = 130;
} finally {
  await rm(folder, { recursive: true, force: true });
}

const aims = results.flatMap((result) => aimsOf(result));
const machine = { cores: availableParallelism(), processor: cpus()[0]?.model ?? '', kernel: release(), node: process.version, datastores: parent };
const json = `${JSON.stringify({ quick: values.quick, machine, results, aims }, null, 2)}\n`;
if (values['output-format'] === 'json') process.stdout.write(json);
else {
  if (!interrupted.signal.aborted) {
    await mkdir(join(resultFile, '..'), { recursive: true });
    await writeFile(resultFile, json);
  }
  process.stdout.write(`${machine.cores} cores (${machine.processor}), Linux ${machine.kernel}, Node ${machine.node}, datastores in ${parent}\n`);
  for (const { name, title } of chosen) process.stdout.write(`${name}: ${title}\n`);
  process.stdout.write(resultTable(results));
  process.stdout.write(aimTable(aims));
  if (values.quick) process.stdout.write('--quick: the sizes are too small for the aims to say anything\n');
}
