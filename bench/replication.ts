/**
 * Speed of a pull over an emulated line: source, line and target are three processes on this host.
 *
 *   node bench/replication.ts [loopback|compressed|large|small|thin ...]
 *
 * Prints one line per run: stored bytes per second, share of the line, and what the target process needed. `small` also runs again with nothing to do.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DelayProxy, type LineShape } from '../test/support/delay-proxy.ts';
import type { PullProcessOptions, PullProcessResult } from '../test/support/pull-process.ts';
import { makeDatastore, makeSource, targetPath, type ImageContent } from './made-source.ts';
import { runPullProcess } from './our-pull.ts';
import { SourceServer } from './source-server.ts';

const mebibyte = 2 ** 20;

interface Scenario extends Omit<ImageContent, 'kind'> {
  line: Partial<LineShape> | null;
  again: boolean;
}

const large = { groups: 1, snapshots: 1, compressed: true, again: false };
const scenarios: Record<string, Scenario> = {
  loopback: { ...large, line: null, chunks: 256, compressed: false },
  compressed: { ...large, line: null, chunks: 400 },
  large: { ...large, line: { delayMs: 75, rate: 125e6, window: 3 * mebibyte }, chunks: 700 },
  small: { line: { delayMs: 75, rate: 125e6, window: 3 * mebibyte }, groups: 200, snapshots: 1, chunks: 4, compressed: true, again: true },
  thin: { ...large, line: { delayMs: 10, rate: 50e6 / 8 }, chunks: 60 },
};

function show(name: string, scenario: Scenario, result: PullProcessResult, proxy: DelayProxy | null): void {
  const rate = result.fetchedBytes / result.seconds;
  const share = scenario.line?.rate === undefined ? '' : `${((rate / scenario.line.rate) * 100).toFixed(1)} % of the line, `;
  console.log(
    `${name}: ${(rate / mebibyte).toFixed(1)} MiB/s, ${share}${(result.fetchedBytes / mebibyte).toFixed(0)} MiB in ${result.seconds.toFixed(2)} s, ` +
      `CPU ${result.cpuSeconds.toFixed(2)} s, RSS ${result.peakRssMiB.toFixed(0)} MiB, event loop p99 ${result.loopDelayP99Ms.toFixed(1)} ms, worst ${result.loopDelayMaxMs.toFixed(0)} ms, ` +
      `limit ${(result.flightLimit / mebibyte).toFixed(0)} MiB, ${proxy?.connections ?? '-'} connections`,
  );
}

async function run(name: string, scenario: Scenario): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-bench-'));
  try {
    const sourcePath = join(folder, 'source');
    await makeSource(sourcePath, { kind: 'images', ...scenario });
    await makeDatastore(targetPath(folder));
    await using source = await SourceServer.start(sourcePath, '127.0.0.1');
    await using proxy = scenario.line === null ? null : await DelayProxy.start({ target: { host: '127.0.0.1', port: source.port }, ...scenario.line });
    const options: PullProcessOptions = { folder, port: proxy?.port ?? source.port, fingerprint: source.fingerprint, tuning: {} };
    show(name, scenario, await runPullProcess(options), proxy);
    if (scenario.again) {
      const { seconds, fetchedBytes, snapshots } = await runPullProcess(options);
      console.log(`${name}, nothing to do: ${(seconds * 1000).toFixed(0)} ms, ${snapshots} snapshots, ${fetchedBytes} bytes`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(scenarios);
for (const name of chosen) {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`no scenario '${name}': ${Object.keys(scenarios).join(', ')}`);
  await run(name, scenario);
}
