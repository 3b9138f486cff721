import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hostAddress, Peer, type PeerNumbers } from '../test/support/peer.ts';
import { syncAuthId } from '../test/support/sync-source.ts';
import type { Contestant, Pulled } from './contestant.ts';
import type { PullSource } from './source-server.ts';

/** Of the bench, for its sources, too. */
export const benchNumbers: PeerNumbers = { prefix: 'bx', first: 150, last: 159 };
const job = 'bench';
const longestMs = 3_600_000;
/** How `timeout` ends then. */
const killedByLimit = 137;

/** The reference pulling from our source, as its sync job does by default: one connection a snapshot, twenty chunks in flight. */
export async function openPeer(source: PullSource): Promise<Contestant> {
  const peer = await Peer.start(benchNumbers);
  try {
    await peer.manager('datastore', 'create', 'copy', '/data/copy');
    await peer.manager('remote', 'create', 'farshore', '--host', hostAddress, '--port', String(source.port), '--auth-id', syncAuthId, '--password', source.secret, '--fingerprint', source.fingerprint);
    await peer.manager('sync-job', 'create', job, '--remote', 'farshore', '--remote-store', 'main', '--store', 'copy');
  } catch (e) {
    await peer[Symbol.asyncDispose]();
    throw e;
  }
  return {
    servicePort: source.port,
    target: join(peer.dataFolder, 'copy'),
    pull: async (port, limitMs) => {
      await peer.manager('remote', 'update', 'farshore', '--port', String(port));
      return runJob(peer, limitMs);
    },
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
}

/** The job `bench` of a reference, to its end. */
export async function runJob(peer: Peer, limitMs: number): Promise<Pulled> {
  const before = new Set(await syncLogs(peer));
  const startedMs = Date.now();
  // Its own limit inside: ending what starts it would leave it running.
  const limit = limitMs === 0 ? [] : ['timeout', '--signal=KILL', String(limitMs / 1000)];
  const ran = await peer.exec([...limit, 'env', 'LC_ALL=C.UTF-8', 'proxmox-backup-manager', 'sync-job', 'run', job], { timeoutMs: longestMs });
  const endedMs = Date.now();
  const figures = { peakRssMiB: peer.peakRssMiB() };
  // Its task goes on until the instance ends; the little that it still does before the stock is taken counts for it.
  if (ran.status === killedByLimit) return { seconds: (endedMs - startedMs) / 1000, finished: false, figures };
  const log = (await syncLogs(peer)).find((path) => !before.has(path));
  if (ran.status !== 0 || log === undefined || !(await readFile(log, 'utf8')).endsWith('TASK OK\n')) throw new Error(`the reference's sync job failed: exit ${ran.status}\n${ran.stdout.slice(-4000)}${ran.stderr}`);
  // The manager looks at its task once a second; the task's log says when it was written first and last.
  const { birthtimeMs, mtimeMs } = await stat(log);
  const firstMs = birthtimeMs >= startedMs - 1 && birthtimeMs < mtimeMs ? birthtimeMs : startedMs;
  return { seconds: (mtimeMs - firstMs) / 1000, finished: true, figures };
}

async function syncLogs(peer: Peer): Promise<string[]> {
  const folder = join(peer.logFolder, 'tasks');
  return (await readdir(folder, { recursive: true })).filter((name) => name.includes(':syncjob:')).map((name) => join(folder, name));
}
