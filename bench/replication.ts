/**
 * Speed of a pull over an emulated line: source, line and target are three processes on this host.
 *
 *   node bench/replication.ts [loopback|compressed|large|small|thin ...]
 *
 * Prints one line per run: stored bytes per second, share of the line, and what the target process needed. `small` also runs again with nothing to do.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Datastore } from '../src/datastore/datastore.ts';
import { DelayProxy, type LineShape } from '../test/support/delay-proxy.ts';
import { firstTime, makeSnapshot, noise } from '../test/support/made-snapshots.ts';
import type { PullProcessOptions, PullProcessResult } from '../test/support/pull-process.ts';

const mebibyte = 2 ** 20;
const support = (name: string): string => fileURLToPath(new URL(`../test/support/${name}`, import.meta.url));
const nodeOptions = ['--disable-warning=ExperimentalWarning', ...(process.env['NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')];

interface Scenario {
  line: Partial<LineShape> | null;
  groups: number;
  snapshots: number;
  /** Per snapshot, of 4 MiB plain. */
  chunks: number;
  /** Half of each chunk compresses to nothing. */
  compressed: boolean;
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

async function emptyDatastore(path: string): Promise<Datastore> {
  await mkdir(join(path, '.chunks'), { recursive: true });
  await writeFile(join(path, '.lock'), '');
  return Datastore.open({ name: 'main', path, locksRoot: `${path}-locks`, tuning: { syncLevel: 'none' } });
}

async function fill(path: string, scenario: Scenario): Promise<void> {
  using store = await emptyDatastore(path);
  for (let group = 0; group < scenario.groups; group += 1) {
    for (let day = 0; day < scenario.snapshots; day += 1) {
      const chunks = Array.from({ length: scenario.chunks }, (_, i) => {
        const seed = `${group}-${day}-${i}`;
        return scenario.compressed ? Buffer.concat([noise(seed, 2 * mebibyte), Buffer.alloc(2 * mebibyte, 'x')]) : noise(seed, 4 * mebibyte);
      });
      await makeSnapshot(store, '', { type: 'vm', id: `${100 + group}`, time: firstTime + day * 86_400 }, { files: { 'drive-scsi0.img.fidx': chunks }, compress: scenario.compressed });
    }
  }
}

async function pull(options: PullProcessOptions): Promise<PullProcessResult> {
  const profiling = process.env['PROFILE'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env['PROFILE']}`];
  const { stdout } = await promisify(execFile)(process.execPath, [...nodeOptions, ...profiling, support('pull-process.ts'), JSON.stringify(options)], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout) as PullProcessResult;
}

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
  const sourcePath = join(folder, 'source');
  await fill(sourcePath, scenario);
  (await emptyDatastore(join(folder, 'main'))).close();
  const server = spawn(process.execPath, [...nodeOptions, support('source-process.ts'), sourcePath], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const { port, fingerprint } = JSON.parse(line.toString()) as { port: number; fingerprint: string };
    await using proxy = scenario.line === null ? null : await DelayProxy.start({ target: { host: '127.0.0.1', port }, ...scenario.line });
    const options: PullProcessOptions = { folder, port: proxy?.port ?? port, fingerprint, tuning: {} };
    show(name, scenario, await pull(options), proxy);
    if (scenario.again) {
      const { seconds, fetchedBytes, snapshots } = await pull(options);
      console.log(`${name}, nothing to do: ${(seconds * 1000).toFixed(0)} ms, ${snapshots} snapshots, ${fetchedBytes} bytes`);
    }
  } finally {
    server.stdin.end();
    await once(server, 'exit');
    await rm(folder, { recursive: true, force: true });
  }
}

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(scenarios);
for (const name of chosen) {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`no scenario '${name}': ${Object.keys(scenarios).join(', ')}`);
  await run(name, scenario);
}
