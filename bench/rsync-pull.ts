import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contestant, Pulled } from './contestant.ts';
import { makeDatastore, targetPath } from './made-source.ts';
import type { PullSource } from './source-server.ts';

const startLimitMs = 10_000;

/** Why rsync cannot run here; null when it can. */
export function rsyncMissing(): string | null {
  return spawnSync('rsync', ['--version'], { stdio: 'ignore' }).status === 0 ? null : 'absent: apt-get install rsync';
}

/** `rsync -a` from an rsync daemon over the source's datastore: plain TCP, no encryption. */
export async function openRsync(source: PullSource, folder: string): Promise<Contestant> {
  await mkdir(folder);
  await makeDatastore(targetPath(folder));
  const port = await freePort();
  const daemon = await startDaemon(source.path, folder, port);
  return {
    servicePort: port,
    target: targetPath(folder),
    pull: (from, limitMs, signal) => rsync(`rsync://127.0.0.1:${from}/main/`, `${targetPath(folder)}/`, limitMs, signal),
    [Symbol.asyncDispose]: async () => {
      await endProcess(daemon);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startDaemon(path: string, folder: string, port: number): Promise<ChildProcess> {
  const isRoot = process.getuid?.() === 0;
  const config = join(folder, 'rsyncd.conf');
  const log = join(folder, 'rsyncd.log');
  const lines = ['use chroot = no', `log file = ${log}`, `pid file = ${join(folder, 'rsyncd.pid')}`, '[main]', `path = ${path}`, 'read only = yes', ...(isRoot ? ['uid = root', 'gid = root'] : [])];
  await writeFile(config, `${lines.join('\n')}\n`);
  const daemon = spawn('rsync', ['--daemon', '--no-detach', `--port=${port}`, '--address=127.0.0.1', `--config=${config}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  const deadlineMs = performance.now() + startLimitMs;
  while (!(await answers(port))) {
    if (daemon.exitCode !== null || performance.now() > deadlineMs) {
      await endProcess(daemon);
      throw new Error('the rsync daemon did not start');
    }
    await sleep(20);
  }
  return daemon;
}

async function rsync(from: string, to: string, limitMs: number, signal: AbortSignal): Promise<Pulled> {
  const startedMs = performance.now();
  const child = spawn('rsync', ['-a', from, to], { stdio: ['ignore', 'ignore', 'inherit'], timeout: limitMs, killSignal: 'SIGTERM', signal });
  // Rejects with the child's error when the signal ends it.
  const [code] = (await once(child, 'close')) as [number | null];
  const seconds = (performance.now() - startedMs) / 1000;
  const cut = child.killed;
  if (code !== 0 && !cut) throw new Error(`rsync ended with ${code}`);
  return { seconds, finished: !cut, figures: {} };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}
