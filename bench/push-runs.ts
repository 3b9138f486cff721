import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { errorChain } from '../src/base/errors.ts';
import { DelayProxy, type LineShape } from '../test/support/delay-proxy.ts';
import { FarshoreServer } from '../test/support/farshore-server.ts';
import { hostAddress, Peer } from '../test/support/peer.ts';
import { adminAccount, makeAdmin } from '../test/support/peer-backups.ts';
import type { PushProcessOptions, PushProcessResult } from '../test/support/push-process.ts';
import type { Pulled } from './contestant.ts';
import { makeSource, type SourceContent } from './made-source.ts';
import { benchNumbers, runJob } from './peer-pull.ts';
import type { PullBench } from './pull-runs.ts';
import { compare, rateOf, type Measured, type PullRun, type ScenarioResult, type Who } from './result.ts';
import { longLine } from './scenarios.ts';
import { nodeOptions } from './source-server.ts';
import { stockOf } from './stock.ts';

const program = fileURLToPath(new URL('../test/support/push-process.ts', import.meta.url));
const job = 'bench';

/** A push of a whole datastore into an empty one. */
export interface PushScenario extends Measured {
  content: SourceContent;
  line: LineShape;
  /** Sessions that the content allows at a time; each has one connection. */
  sessions: number;
}

export function pushScenarios(quick: boolean): PushScenario[] {
  const one: SourceContent = { kind: 'images', groups: 1, snapshots: 1, chunks: quick ? 4 : 48, compressed: false };
  const many: SourceContent = { kind: 'images', groups: 10, snapshots: 1, chunks: quick ? 2 : 20, compressed: false };
  return [
    { name: 'push', title: `push of ${one.chunks * 4} MiB in one image, 75 ms each way`, content: one, line: longLine, sessions: 1, measure: 'bytes' },
    { name: 'push-groups', title: `push of ${many.groups} groups of ${many.chunks * 4} MiB, 75 ms each way`, content: many, line: longLine, sessions: many.groups, measure: 'bytes' },
  ];
}

/** Where it is pushed to: on this host, with the datastore `copy`. */
interface Target {
  port: number;
  authId: string;
  secret: string;
  fingerprint: string;
  /** Of the datastore. */
  path: string;
}

async function farshoreTarget(stack: AsyncDisposableStack, folder: string): Promise<Target> {
  const home = join(folder, 'target');
  const server = stack.use(await FarshoreServer.start(home));
  const path = join(home, 'copy');
  await server.manager('datastore', 'create', 'copy', path);
  await server.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await server.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  return { port: server.port, authId: adminAccount.authId, secret: adminAccount.password, fingerprint: server.fingerprint, path };
}

async function peerTarget(stack: AsyncDisposableStack): Promise<Target> {
  const peer = stack.use(await Peer.start(benchNumbers));
  await peer.manager('datastore', 'create', 'copy', '/data/copy');
  const { authId, secret } = await makeAdmin(peer, 'copy');
  // Other instances of the reference reach this host, not each other.
  const door = stack.use(await DelayProxy.start({ target: { host: peer.host, port: peer.port }, host: '0.0.0.0' }));
  return { port: door.port, authId, secret, fingerprint: peer.fingerprint, path: join(peer.dataFolder, 'copy') };
}

type Pusher = (target: Target, port: number, limitMs: number) => Promise<Pulled>;

function ourPusher(sourcePath: string, folder: string, signal: AbortSignal): Pusher {
  return async (target, port) => {
    const work = join(folder, 'pusher');
    await mkdir(work);
    const options: PushProcessOptions = { path: sourcePath, folder: work, host: '127.0.0.1', port, authId: target.authId, secret: target.secret, fingerprint: target.fingerprint };
    const { stdout } = await promisify(execFile)(process.execPath, [...nodeOptions, program, JSON.stringify(options)], { maxBuffer: 2 ** 26, signal, killSignal: 'SIGKILL' });
    const { seconds, ...figures } = JSON.parse(stdout) as PushProcessResult;
    return { seconds, finished: true, figures };
  };
}

async function peerPusher(stack: AsyncDisposableStack, content: SourceContent): Promise<Pusher> {
  const peer = stack.use(await Peer.start(benchNumbers));
  await makeSource(join(peer.dataFolder, 'main'), content);
  await peer.manager('datastore', 'create', 'main', '/data/main', '--reuse-datastore', 'true');
  return async (target, port, limitMs) => {
    await peer.manager('remote', 'create', 'offsite', '--host', hostAddress, '--port', String(port), '--auth-id', target.authId, '--password', target.secret, '--fingerprint', target.fingerprint);
    await peer.manager('sync-job', 'create', job, '--sync-direction', 'push', '--remote', 'offsite', '--remote-store', 'copy', '--store', 'main');
    return runJob(peer, limitMs);
  };
}

/** Runs the pushes one after another: ours to a Farshore, ours to the reference, the reference's to the reference. */
export async function* runPushScenarios(chosen: readonly PushScenario[], bench: PullBench): AsyncGenerator<ScenarioResult<PushScenario, PullRun>, void, undefined> {
  const { folder, peerReason, say, signal, limitMs } = bench;
  for (const scenario of chosen) {
    const sourcePath = join(folder, 'source');
    say(`${scenario.name}: making the source, ${scenario.title}`);
    await makeSource(sourcePath, scenario.content);
    const result: ScenarioResult<PushScenario, PullRun> = { scenario, runs: [], missing: [] };
    const entries: Array<{ who: Who; needsPeer: boolean }> = [{ who: 'farshore', needsPeer: false }, { who: 'to the reference', needsPeer: true }, { who: 'reference', needsPeer: true }];
    for (const { who, needsPeer } of entries) {
      signal.throwIfAborted();
      if (needsPeer && peerReason !== null) {
        result.missing.push({ who, reason: peerReason });
        continue;
      }
      say(`${scenario.name}: ${who}`);
      const work = join(folder, 'push');
      await mkdir(work);
      try {
        result.runs.push(await runOne(who, scenario, { sourcePath, work, limitMs, signal }));
      } catch (e) {
        signal.throwIfAborted();
        say(`${scenario.name}: ${who} failed: ${errorChain(e)}`);
        result.missing.push({ who, reason: 'failed', error: errorChain(e) });
        process.exitCode = 1;
      } finally {
        await rm(work, { recursive: true, force: true });
      }
    }
    compare(result.runs);
    await rm(sourcePath, { recursive: true, force: true });
    yield result;
  }
}

async function runOne(who: Who, scenario: PushScenario, { sourcePath, work, limitMs, signal }: { sourcePath: string; work: string; limitMs: number; signal: AbortSignal }): Promise<PullRun> {
  await using stack = new AsyncDisposableStack();
  const target = who === 'farshore' ? await farshoreTarget(stack, work) : await peerTarget(stack);
  const push = who === 'reference' ? await peerPusher(stack, scenario.content) : ourPusher(sourcePath, work, signal);
  const proxy = stack.use(await DelayProxy.start({ target: { host: '127.0.0.1', port: target.port }, host: who === 'reference' ? '0.0.0.0' : '127.0.0.1', ...scenario.line }));
  const before = await stockOf(target.path);
  const { seconds, finished, figures } = await push(target, proxy.port, limitMs);
  const after = await stockOf(target.path);
  const stock = { snapshots: after.snapshots, chunkBytes: after.chunkBytes - before.chunkBytes };
  const whole = scenario.content.groups * scenario.content.snapshots;
  if (finished && stock.snapshots !== whole) throw new Error(`ended without error, but with ${stock.snapshots} of ${whole} snapshots`);
  return { who, seconds, finished, stock, rate: rateOf(scenario.measure, stock, seconds), oursIsFaster: null, figures, source: null, connections: proxy.connections, neighbour: null };
}
