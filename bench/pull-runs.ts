import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorChain } from '../src/base/errors.ts';
import { DelayProxy } from '../test/support/delay-proxy.ts';
import type { Contestant } from './contestant.ts';
import { makeSource } from './made-source.ts';
import { oneConnection, openOurs } from './our-pull.ts';
import { Neighbour } from './neighbour.ts';
import { openPeer } from './peer-pull.ts';
import { PeerSource } from './peer-source.ts';
import { compare, rateOf, type PullRun, type ScenarioResult, type Who } from './result.ts';
import { openRsync, rsyncMissing } from './rsync-pull.ts';
import type { Scenario } from './scenarios.ts';
import { SourceServer, type PullSource } from './source-server.ts';
import { stockOf } from './stock.ts';

const ourLimitMs = 3_600_000;
/** For so long somebody else's connection has the line for itself. */
const aloneMs = 3000;

export interface PullBench {
  /** An empty folder for source and targets. */
  folder: string;
  /** When the others are ended. */
  limitMs: number;
  /** Why the reference is missing; null: it is there. */
  peerReason: string | null;
  say: (text: string) => void;
  signal: AbortSignal;
}

interface Entry {
  who: Who;
  limitMs: number;
  missing: string | null;
  open(source: PullSource, folder: string): Promise<Contestant>;
}

function entries(scenario: Scenario, { limitMs, peerReason }: PullBench): Entry[] {
  return [
    { who: 'farshore', limitMs: ourLimitMs, missing: null, open: (source, folder) => openOurs(source, folder) },
    ...(!scenario.oneConnection ? [] : [{ who: 'one connection', limitMs, missing: null, open: (source, folder) => openOurs(source, folder, oneConnection) } satisfies Entry]),
    ...(scenario.others !== 'all' ? [] : [{ who: 'rsync', limitMs, missing: rsyncMissing(), open: openRsync } satisfies Entry]),
    ...(scenario.others === 'none' ? [] : [{ who: 'reference', limitMs, missing: peerReason, open: (source) => openPeer(source) } satisfies Entry]),
  ];
}

async function runEntry(entry: Entry, scenario: Scenario, source: PullSource, { folder, peerReason, signal }: PullBench): Promise<PullRun> {
  await using contestant = await entry.open(source, join(folder, 'contestant'));
  if (scenario.again) {
    const { finished } = await contestant.pull(contestant.servicePort, ourLimitMs, signal);
    if (!finished) throw new Error('the first run did not finish');
  }
  // What the source's process did until now does not count.
  await source.figures();
  await using proxy = scenario.line === null ? null : await DelayProxy.start({ target: { host: '127.0.0.1', port: contestant.servicePort }, host: listenAddress(peerReason), ...scenario.line });
  await using neighbour = scenario.neighbour && proxy !== null && scenario.line !== null ? await Neighbour.start(proxy, scenario.line) : null;
  const alone = (await neighbour?.rate(aloneMs)) ?? null;
  const stopWatch = neighbour?.watch();
  const { seconds, finished, figures } = await contestant.pull(proxy?.port ?? contestant.servicePort, entry.limitMs, signal);
  const beside = stopWatch?.() ?? null;
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
    neighbour: alone === null || beside === null ? null : { alone, beside },
  };
}

/** Everybody pulls the datastore at `sourcePath`. */
async function runPulls(scenario: Scenario, sourcePath: string, bench: PullBench): Promise<ScenarioResult<Scenario, PullRun>> {
  const { peerReason, say, signal } = bench;
  const result: ScenarioResult<Scenario, PullRun> = { scenario, runs: [], missing: [] };
  // A process of its own for each scenario, so that its figures are of this one.
  await using source = scenario.from === 'reference' ? await PeerSource.start(scenario.content) : await SourceServer.start(sourcePath, listenAddress(peerReason));
  const whole = await stockOf(source.path);
  for (const entry of entries(scenario, bench)) {
    if (entry.missing !== null) {
      result.missing.push({ who: entry.who, reason: entry.missing });
      continue;
    }
    say(`${scenario.name}: ${entry.who}`);
    try {
      const run = await runEntry(entry, scenario, source, bench);
      // The reference's datastore holds a chunk of its own from the start, of a check of access times.
      if (run.finished && (run.stock.snapshots !== whole.snapshots || run.stock.chunkBytes < whole.chunkBytes - source.ownChunkBytes)) throw new Error(`ended without error, but with ${JSON.stringify(run.stock)} of ${JSON.stringify(whole)}`);
      result.runs.push(run);
    } catch (e) {
      signal.throwIfAborted();
      say(`${scenario.name}: ${entry.who} failed: ${errorChain(e)}`);
      result.missing.push({ who: entry.who, reason: 'failed', error: errorChain(e) });
      process.exitCode = 1;
    }
  }
  compare(result.runs);
  return result;
}

/** The reference comes from a network of its own. */
function listenAddress(peerReason: string | null): string {
  return peerReason === null ? '0.0.0.0' : '127.0.0.1';
}

/** Runs the pulls one after another; a source is made again only when it changes. */
export async function* runPullScenarios(chosen: readonly Scenario[], bench: PullBench): AsyncGenerator<ScenarioResult<Scenario, PullRun>, void, undefined> {
  const sourcePath = join(bench.folder, 'source');
  let made: string | null = null;
  for (const scenario of chosen) {
    if (scenario.from === 'reference') {
      if (bench.peerReason === null) yield await runPulls(scenario, sourcePath, bench);
      else yield { scenario, runs: [], missing: [{ who: 'reference', reason: bench.peerReason }] };
      continue;
    }
    const content = JSON.stringify(scenario.content);
    if (made !== content) {
      bench.say(`${scenario.name}: making the source, ${scenario.title}`);
      await rm(sourcePath, { recursive: true, force: true });
      await makeSource(sourcePath, scenario.content);
      made = content;
    }
    yield await runPulls(scenario, sourcePath, bench);
  }
  await rm(sourcePath, { recursive: true, force: true });
}
