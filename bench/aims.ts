import { namespaceCount } from './made-source.ts';
import type { ClientScenario } from './client-scenarios.ts';
import { rateText, type Aim, type ClientRun, type Measured, type PullRun, type ScenarioResult } from './result.ts';
import type { PushScenario } from './push-runs.ts';
import type { Scenario } from './scenarios.ts';

const mebibyte = 2 ** 20;
const leastLoopbackRate = 180 * mebibyte;
const leastGain = 5;
/** Shares of the line: a wide one, and a thin one. */
const leastShare = 0.8;
const leastThinShare = 0.95;
const thinRate = 10e6;
/** By how much we are faster than the reference over a line, and without one. */
const leastGainOnReference = 5;
const leastLoopbackGainOnReference = 1.2;
const leastGainWithNothingNew = 20;
const mostSecondsWithNothingNew = 3;
/** What somebody else's connection keeps of what it has alone: nearly all where there is room for it, about its third where it fills the line alone: its own queue makes the line look long, and then we have two connections. */
const leastForNeighbour = 0.7;
const leastForNeighbourOnThin = 0.3;
const mostRssMiB = 300;
const mostLoopDelayMs = 50;

/** Each aim that a scenario says something of, and whether it is met. */
export function aimsOf({ scenario, runs, missing }: ScenarioResult<Scenario, PullRun>): Aim[] {
  const ours = runs.find(({ who }) => who === 'farshore');
  // Without the source that a scenario is about there is nothing to say.
  if (ours === undefined && !missing.some(({ who }) => who === 'farshore')) return [];
  if (ours === undefined) return [{ scenario: scenario.name, aim: 'the sync succeeds', found: 'failed', met: false }];
  const aims: Aim[] = [];
  const aim = (text: string, found: string, met: boolean): void => void aims.push({ scenario: scenario.name, aim: text, found, met: met && ours.finished });
  if (scenario.measure === 'bytes' && scenario.line === null) aim('at least 180 MiB/s stored bytes on loopback', rateText('bytes', ours.rate), ours.rate >= leastLoopbackRate);
  const slow = runs.find(({ who }) => who === 'one connection');
  if (scenario.oneConnection) {
    const gain = slow === undefined ? NaN : ours.rate / slow.rate;
    aim(`at least ${leastGain} times one connection with 20 chunks in flight`, slow === undefined ? 'not measured' : `${gain.toFixed(1)} times`, gain >= leastGain);
  }
  const { line } = scenario;
  if (scenario.measure === 'bytes' && line !== null && !scenario.neighbour) {
    const least = line.rate < thinRate ? leastThinShare : leastShare;
    aim(`at least ${least * 100} % of the line`, `${((ours.rate / line.rate) * 100).toFixed(1)} %`, ours.rate >= least * line.rate);
  }
  if (ours.neighbour !== null && line !== null) {
    const least = ours.neighbour.alone > 0.9 * line.rate ? leastForNeighbourOnThin : leastForNeighbour;
    const kept = ours.neighbour.beside / ours.neighbour.alone;
    aim(`somebody else's connection keeps at least ${least * 100} % of what it has alone`, `${(kept * 100).toFixed(0)} %`, kept >= least);
  }
  const reference = runs.find(({ who }) => who === 'reference');
  if (reference !== undefined) {
    const least = scenario.from === 'reference' ? leastGainWithNothingNew : line === null ? leastLoopbackGainOnReference : leastGainOnReference;
    aim(`at least ${least} times the reference`, `${(ours.rate / reference.rate).toFixed(1)} times${reference.finished ? '' : ' or more'}`, ours.rate >= least * reference.rate);
  }
  if (scenario.again && line !== null) aim(`nothing to do: within ${mostSecondsWithNothingNew} s`, `${ours.seconds.toFixed(2)} s`, ours.seconds <= mostSecondsWithNothingNew);
  if (scenario.again && ours.source !== null) {
    // One for the namespaces, then groups and snapshots of each.
    const most = 1 + 2 * namespaceCount(scenario.content);
    const roundTripMs = 2 * (scenario.line?.delayMs ?? 0);
    const trips = roundTripMs === 0 ? '' : `, the time of ${((ours.seconds * 1000) / roundTripMs).toFixed(1)} round trips`;
    aim(`nothing to do: at most ${most} requests for ${namespaceCount(scenario.content)} namespaces`, `${ours.source.requests}${trips}`, ours.source.requests <= most);
  }
  if (scenario.again) return aims;
  const ends: Array<[string, Partial<{ peakRssMiB: number; loopDelayP99Ms: number }> | null]> = [['target', ours.figures], ['source', ours.source]];
  for (const [name, figures] of ends) {
    if (figures?.peakRssMiB !== undefined) aim(`${name}: at most ${mostRssMiB} MB resident`, `${figures.peakRssMiB.toFixed(0)} MiB`, figures.peakRssMiB * mebibyte <= mostRssMiB * 1e6);
    if (figures?.loopDelayP99Ms !== undefined) aim(`${name}: event loop's delay, p99 below ${mostLoopDelayMs} ms`, `${figures.loopDelayP99Ms.toFixed(1)} ms`, figures.loopDelayP99Ms < mostLoopDelayMs);
  }
  return aims;
}

/** Of a push: a session has one connection, which carries its window per round trip; several snapshots at a time fill the line. */
export function aimsOfPush({ scenario, runs }: ScenarioResult<PushScenario, PullRun>): Aim[] {
  const ours = runs.find(({ who }) => who === 'farshore');
  if (ours === undefined) return [{ scenario: scenario.name, aim: 'the push succeeds', found: 'failed', met: false }];
  const { line, sessions } = scenario;
  const carried = Math.min(line.rate, (sessions * line.window) / ((2 * line.delayMs) / 1000));
  const aims: Aim[] = [{ scenario: scenario.name, aim: `at least ${leastShare * 100} % of what ${sessions} session(s) can carry over the line`, found: `${((ours.rate / carried) * 100).toFixed(1)} %`, met: ours.rate >= leastShare * carried }];
  const reference = runs.find(({ who }) => who === 'reference');
  if (reference !== undefined) aims.push({ scenario: scenario.name, aim: `at least ${leastGainOnReference} times the reference's push`, found: `${(ours.rate / reference.rate).toFixed(1)} times${reference.finished ? '' : ' or more'}`, met: ours.rate >= leastGainOnReference * reference.rate });
  return aims;
}

/** The least rate of a client's scenario: bytes or files per second. */
const leastClientRates: Readonly<Record<string, number>> = {
  'backup-image': 300 * mebibyte,
  'backup-files': 20_000,
  'backup-files-split': 20_000,
  'backup-files-unchanged': 200_000,
  'restore-image': 200 * mebibyte,
  'restore-tree': 200 * mebibyte,
};
const mostClientRssMb = 200;
const mostServerRssMb = 300;
const leastChunkerRate = 1e9;

export function aimsOfClient({ scenario, runs }: ScenarioResult<ClientScenario, ClientRun>): Aim[] {
  const ours = runs.find(({ who }) => who === 'farshore');
  if (ours === undefined) return [{ scenario: scenario.name, aim: 'it succeeds', found: 'failed', met: false }];
  const aims: Aim[] = [];
  const aim = (text: string, found: string, met: boolean): void => void aims.push({ scenario: scenario.name, aim: text, found, met });
  const least = leastClientRates[scenario.name];
  if (least !== undefined) aim(`at least ${rateText(scenario.measure, least)}`, rateText(scenario.measure, ours.rate), ours.rate >= least);
  const reference = runs.find(({ who }) => who === 'reference');
  if (reference !== undefined) aim("not slower than the reference's client", `${(ours.rate / reference.rate).toFixed(2)} times as fast`, ours.rate >= reference.rate);
  for (const [name, most, figures] of [['client', mostClientRssMb, ours.figures], ['server', mostServerRssMb, ours.server]] as const) {
    const found = figures?.peakRssMiB;
    if (found !== undefined) aim(`${name}: at most ${most} MB resident`, `${found.toFixed(0)} MiB`, found * mebibyte <= most * 1e6);
  }
  return aims;
}

export function aimsOfChunker({ scenario, runs }: ScenarioResult<Measured, ClientRun>): Aim[] {
  return runs.map(({ rate }) => ({ scenario: scenario.name, aim: `at least ${leastChunkerRate / 1e9} GB/s on one core`, found: `${(rate / 1e9).toFixed(2)} GB/s`, met: rate >= leastChunkerRate }));
}
