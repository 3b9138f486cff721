import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { appendFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { errorChain } from '../src/base/errors.ts';
import { RemoteEndpoint } from '../src/protocol/remote-endpoint.ts';
import { RestClient } from '../src/protocol/rest-client.ts';
import { FarshoreServer } from '../test/support/farshore-server.ts';
import type { LoadCounts, LoadOrder } from './load-clients.ts';
import { makeSource, type SourceContent } from './made-source.ts';
import type { Aim } from './result.ts';
import { nodeOptions } from './source-server.ts';

/** Everything at once on this host, two cores in the aims: lists, backups, a sync from the server and one into it, and somebody who asks for the version all the time. */
export interface LoadScenario {
  name: string;
  title: string;
  seconds: number;
  listing: number;
  backingUp: number;
  content: SourceContent;
}

export interface LoadResult {
  scenario: LoadScenario;
  counts: LoadCounts;
  syncs: number;
  /** Of `/version`, milliseconds. */
  version: { calls: number; p50: number; p99: number; most: number };
  /** Resident memory of the server: median of the second and of the last quarter of the time. */
  memoryMiB: { early: number; late: number; peak: number };
  /** How long the server's main thread had a core, and how long it waited for one because others had them, seconds. */
  core: { had: number; waited: number };
}

const pauseMs = 1000;
const probeEveryMs = 50;
const mostVersionMs = 100;
/** Between the second and the last quarter. */
const mostGrowth = 0.15;
/** Of each sync, as over a line: both last for the whole time. */
const syncRate = '16MiB';
const user = 'load@pbs';
const authId = `${user}!bench`;
const clients = fileURLToPath(new URL('load-clients.ts', import.meta.url));

export function loadScenario(quick: boolean): LoadScenario {
  const seconds = quick ? 6 : 60;
  const [listing, backingUp] = quick ? [20, 2] : [200, 8];
  return {
    name: 'load',
    title: `${listing} clients listing, ${backingUp} backing up, 2 syncs at once for ${seconds} s`,
    seconds,
    listing,
    backingUp,
    content: { kind: 'images', groups: 8, snapshots: 2, chunks: quick ? 4 : 16, compressed: false },
  };
}

export async function runLoad(scenario: LoadScenario, folder: string, signal: AbortSignal): Promise<LoadResult> {
  const made = join(folder, 'load-source');
  await makeSource(made, scenario.content);
  const servers: LoadServer[] = [];
  try {
    for (const name of ['one', 'two']) servers.push(await server(join(folder, name), made));
    const [one, two] = servers as [LoadServer, LoadServer];
    for (const [to, from] of [[one, two], [two, one]] as const) {
      const login = ['--auth-id', authId, '--password', from.secret, '--fingerprint', from.program.fingerprint];
      await to.program.manager('remote', 'create', 'other', '--host', '127.0.0.1', '--port', String(from.program.port), ...login);
    }
    const before = coreTime(one.program);
    const stop = new AbortController();
    const ended = AbortSignal.any([signal, stop.signal]);
    const order: LoadOrder = { port: one.program.port, fingerprint: one.program.fingerprint, authId, secret: one.secret, seconds: scenario.seconds, listing: scenario.listing, pauseMs, backingUp: scenario.backingUp };
    const memory: number[] = [];
    const times: number[] = [];
    const errors: string[] = [];
    const background = [watchMemory(one.program, memory, ended), probe(one, times, errors, ended), keepSyncing(one, errors, ended), keepSyncing(two, errors, ended)];
    let counts: LoadCounts;
    try {
      counts = await runClients(order, signal);
    } finally {
      stop.abort();
    }
    const after = coreTime(one.program);
    const [, , ...syncs] = await Promise.all(background);
    return { scenario, counts: { ...counts, errors: [...counts.errors, ...errors] }, syncs: (syncs[0] ?? 0) + (syncs[1] ?? 0), version: percentiles(times), memoryMiB: growth(memory), core: { had: after.had - before.had, waited: after.waited - before.waited } };
  } finally {
    for (const { program } of servers) await program.stop();
    for (const name of ['one', 'two', 'load-source', 'load-source-locks']) await rm(join(folder, name), { recursive: true, force: true });
  }
}

interface LoadServer {
  program: FarshoreServer;
  /** Of the token `authId`, which may do everything. */
  secret: string;
}

async function server(home: string, made: string): Promise<LoadServer> {
  await mkdir(join(home, 'etc'), { recursive: true, mode: 0o700 });
  await appendFile(join(home, 'etc', 'datastore.cfg'), `datastore: source\n\tpath ${made}\n`, { mode: 0o640 });
  const program = await FarshoreServer.start(home, { node: nodeOptions });
  await program.manager('user', 'create', user);
  const secret = /"value": "([^"]+)"/.exec(await program.manager('user', 'generate-token', user, 'bench'))![1]!;
  for (const one of [user, authId]) await program.manager('acl', 'update', '/', 'Admin', '--auth-id', one);
  for (const name of ['main', 'copy']) await program.manager('datastore', 'create', name, join(home, name));
  return { program, secret };
}

async function runClients(order: LoadOrder, signal: AbortSignal): Promise<LoadCounts> {
  const child = spawn(process.execPath, [...nodeOptions, clients, JSON.stringify(order)], { stdio: ['ignore', 'pipe', 'inherit'], signal });
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'exit') as Promise<[number | null]>]);
  if (code !== 0) throw new Error(`the clients ended with ${code}`);
  return JSON.parse(printed) as LoadCounts;
}

function restClient({ program, secret }: LoadServer): RestClient {
  return new RestClient(new RemoteEndpoint({ host: '127.0.0.1', port: program.port, authId, secret, fingerprint: program.fingerprint }));
}

/** Pull after pull; the first one is to last. */
async function keepSyncing(into: LoadServer, errors: string[], ended: AbortSignal): Promise<number> {
  const client = restClient(into);
  let whole = 0;
  try {
    while (!ended.aborted) {
      const upid = (await client.post('/pull', { remote: 'other', 'remote-store': 'source', store: 'copy', 'rate-in': syncRate })).data as string;
      const task = `/nodes/localhost/tasks/${encodeURIComponent(upid)}`;
      let status: { status: string; exitstatus?: string } = { status: 'running' };
      while (!ended.aborted && status.status === 'running') {
        await sleep(500);
        status = (await client.get(`${task}/status`)).data as typeof status;
      }
      if (status.status === 'running') await client.delete(task);
      else if (status.exitstatus === 'OK') whole += 1;
      else errors.push(`sync: ${status.exitstatus}`);
    }
  } catch (e) {
    errors.push(`sync: ${errorChain(e)}`);
  } finally {
    client.close();
  }
  return whole;
}

async function probe(server: LoadServer, times: number[], errors: string[], ended: AbortSignal): Promise<number> {
  const client = restClient(server);
  try {
    while (!ended.aborted) {
      const startMs = performance.now();
      try {
        await client.get('/version');
        times.push(performance.now() - startMs);
      } catch (e) {
        errors.push(`version: ${errorChain(e)}`);
      }
      await sleep(probeEveryMs);
    }
  } finally {
    client.close();
  }
  return times.length;
}

async function watchMemory(server: FarshoreServer, memory: number[], ended: AbortSignal): Promise<number> {
  while (!ended.aborted) {
    memory.push(Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024);
    await sleep(500);
  }
  return memory.length;
}

/** Of the main thread (proc(5), schedstat). */
function coreTime(server: FarshoreServer): LoadResult['core'] {
  const [had, waited] = readFileSync(`/proc/${server.pid}/schedstat`, 'utf8').split(' ').map((nanoseconds) => Number(nanoseconds) / 1e9);
  return { had: had ?? NaN, waited: waited ?? NaN };
}

function percentiles(times: readonly number[]): LoadResult['version'] {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { calls: sorted.length, p50: at(0.5), p99: at(0.99), most: at(1) };
}

function growth(memory: readonly number[]): LoadResult['memoryMiB'] {
  const quarter = Math.floor(memory.length / 4);
  const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
  return { early: median(memory.slice(quarter, 2 * quarter)), late: median(memory.slice(-quarter)), peak: Math.max(...memory) };
}

export function loadText({ scenario, counts, syncs, version, memoryMiB, core }: LoadResult): string {
  const perSecond = (n: number): string => (n / scenario.seconds).toFixed(1);
  return [
    `load: ${counts.lists} lists (${perSecond(counts.lists)}/s), ${counts.backups} backups (${perSecond(counts.uploadedBytes / 2 ** 20)} MiB/s), ${syncs} whole syncs, ${counts.errors.length} errors`,
    `load: /version ${version.calls} times, median ${version.p50.toFixed(1)} ms, p99 ${version.p99.toFixed(1)} ms, longest ${version.most.toFixed(1)} ms`,
    `load: server's memory ${memoryMiB.early.toFixed(0)} MiB in the second quarter, ${memoryMiB.late.toFixed(0)} MiB in the last, ${memoryMiB.peak.toFixed(0)} MiB at most`,
    `load: server's main thread had a core for ${core.had.toFixed(1)} s and waited for one for ${core.waited.toFixed(1)} s`,
    ...counts.errors.slice(0, 10).map((line) => `load: ${line}`),
    '',
  ].join('\n');
}

export function aimsOfLoad({ scenario, counts, version, memoryMiB }: LoadResult): Aim[] {
  const aim = (aimed: string, found: string, met: boolean): Aim => ({ scenario: scenario.name, aim: aimed, found, met });
  return [
    aim('no error', String(counts.errors.length), counts.errors.length === 0),
    aim(`/version: p99 below ${mostVersionMs} ms`, `${version.p99.toFixed(1)} ms`, version.p99 < mostVersionMs),
    aim(`memory flat: at most ${mostGrowth * 100} % more in the last quarter than in the second`, `${((memoryMiB.late / memoryMiB.early - 1) * 100).toFixed(0)} %`, memoryMiB.late <= memoryMiB.early * (1 + mostGrowth)),
  ];
}
