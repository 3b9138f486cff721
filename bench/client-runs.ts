import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorChain } from '../src/base/errors.ts';
import { FarshoreServer } from '../test/support/farshore-server.ts';
import type { ProcessFigures } from '../test/support/process-meter.ts';
import { ourClient, peerClient, reportingNode, type BackupClientProgram } from './backup-clients.ts';
import type { ClientScenario, ClientStep } from './client-scenarios.ts';
import { makeClientSource } from './client-source.ts';
import { compare, type ClientRun, type ScenarioResult, type Who } from './result.ts';

const account = { authId: 'bench@pbs', secret: 'bench-password' };
const firstTime = 1_760_000_000;
const group = 'host/bench';

export interface ClientBench {
  /** An empty folder for servers, clients, and what is restored. */
  folder: string;
  /** Why the reference is missing; null: it is there. */
  peerReason: string | null;
  say: (text: string) => void;
  signal: AbortSignal;
}

/** Runs the scenarios one after another; what is backed up is made again only when it changes. */
export async function* runClientScenarios(chosen: readonly ClientScenario[], bench: ClientBench): AsyncGenerator<ScenarioResult<ClientScenario, ClientRun>, void, undefined> {
  const source = join(bench.folder, 'content');
  let made: string | null = null;
  for (const scenario of chosen) {
    const content = JSON.stringify(scenario.content);
    if (made !== content) {
      bench.say(`${scenario.name}: making what is backed up, ${scenario.title}`);
      await rm(source, { recursive: true, force: true });
      await makeClientSource(source, scenario.content);
      made = content;
    }
    yield await runClientScenario(scenario, source, bench);
  }
  await rm(source, { recursive: true, force: true });
}

/** Our client, and the reference's, each against a server of ours with an empty datastore. */
async function runClientScenario(scenario: ClientScenario, source: string, bench: ClientBench): Promise<ScenarioResult<ClientScenario, ClientRun>> {
  const { folder, peerReason, say, signal } = bench;
  const result: ScenarioResult<ClientScenario, ClientRun> = { scenario, runs: [], missing: [] };
  const entries: Array<{ who: Who; open: (() => Promise<BackupClientProgram>) | string }> = [
    { who: 'farshore', open: () => ourClient(join(folder, 'client')) },
    { who: 'reference', open: peerReason ?? peerClient },
  ];
  for (const { who, open } of entries) {
    signal.throwIfAborted();
    if (typeof open === 'string') {
      result.missing.push({ who, reason: open });
      continue;
    }
    say(`${scenario.name}: ${who}`);
    try {
      await using client = await open();
      result.runs.push({ who, ...(await runWith(client, scenario, source, folder)) });
    } catch (e) {
      signal.throwIfAborted();
      say(`${scenario.name}: ${who} failed: ${errorChain(e)}`);
      result.missing.push({ who, reason: 'failed', error: errorChain(e) });
      process.exitCode = 1;
    }
  }
  compare(result.runs);
  return result;
}

async function runWith(client: BackupClientProgram, scenario: ClientScenario, source: string, folder: string): Promise<Omit<ClientRun, 'who'>> {
  const home = join(folder, 'server');
  const restored = join(folder, 'restored');
  const report = join(folder, 'server.json');
  const server = await FarshoreServer.start(home, { node: reportingNode, env: { BENCH_REPORT: report } });
  try {
    await server.manager('user', 'create', account.authId, '--password', account.secret);
    await server.manager('acl', 'update', '/', 'Admin', '--auth-id', account.authId);
    await server.manager('datastore', 'create', 'main', join(home, 'store'));
    const target = server.target(client.serverAddress, account.authId, account.secret, 'main');
    for (const [age, step] of scenario.prepare.entries()) await client.run(target, argvOf(step, age, source, restored));
    const { seconds, figures } = await client.run(target, argvOf(scenario.step, scenario.prepare.length, source, restored));
    await server.stop();
    const ofServer = JSON.parse(await readFile(report, 'utf8')) as ProcessFigures;
    return { seconds, finished: true, rate: scenario.amount / seconds, oursIsFaster: null, figures, server: ofServer };
  } finally {
    await server.stop();
    for (const path of [home, restored, report]) await rm(path, { recursive: true, force: true });
  }
}

/** `age`: how many commands went before. */
function argvOf(step: ClientStep, age: number, source: string, restored: string): string[] {
  const name = step.archive === 'image' ? 'disk.img' : 'root.pxar';
  if (step.what === 'restore') return ['restore', group, name, restored];
  const mode = step.mode === undefined ? [] : ['--change-detection-mode', step.mode];
  return ['backup', `${name}:${source}`, '--backup-id', 'bench', '--backup-time', String(firstTime + age * 3600), ...mode];
}
