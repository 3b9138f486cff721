import { listTable, type Column, type Row, type TableStyle } from '../src/terminal/table.ts';
import { rateText, type Aim, type ClientRun, type Measured, type PullRun, type ScenarioResult } from './result.ts';

const style: TableStyle = { border: true, header: true, unicode: true, width: undefined };

function columns(names: Record<string, 'left' | 'right'>): Column[] {
  return Object.entries(names).map(([name, align]) => ({ name, align }));
}

export function resultTable(results: ReadonlyArray<ScenarioResult<Measured, PullRun>>): string {
  const rows = results.flatMap(({ scenario, runs, missing }) => [
    ...runs.map(
      (run): Row => ({
        scenario: scenario.name,
        who: run.who,
        time: `${run.seconds.toFixed(2)} s${run.finished ? '' : ', cut'}`,
        rate: rateText(scenario.measure, run.rate),
        'ours is faster': run.oursIsFaster === null ? '' : `${run.finished || scenario.measure !== 'runs' ? '' : '> '}${run.oursIsFaster.toFixed(1)} x`,
        RSS: run.figures.peakRssMiB === undefined ? '' : `${run.figures.peakRssMiB.toFixed(0)} MiB`,
        'loop p99': run.figures.loopDelayP99Ms === undefined ? '' : `${run.figures.loopDelayP99Ms.toFixed(1)} ms`,
        requests: run.source?.requests ?? '',
        connections: run.connections ?? '',
      }),
    ),
    ...missing.map(({ who, reason }): Row => ({ scenario: scenario.name, who, time: reason })),
  ]);
  const shown = columns({ scenario: 'left', who: 'left', time: 'right', rate: 'right', 'ours is faster': 'right', RSS: 'right', 'loop p99': 'right', requests: 'right', connections: 'right' });
  return listTable(shown, rows, style, false);
}

function memory(mebibytes: number | undefined): string {
  return mebibytes === undefined ? '' : `${mebibytes.toFixed(0)} MiB`;
}

function share(loopShare: number | undefined): string {
  return loopShare === undefined ? '' : `${(loopShare * 100).toFixed(0)} %`;
}

export function clientTable(results: ReadonlyArray<ScenarioResult<Measured, ClientRun>>): string {
  const rows = results.flatMap(({ scenario, runs, missing }) => [
    ...runs.map(
      (run): Row => ({
        scenario: scenario.name,
        who: run.who,
        time: `${run.seconds.toFixed(2)} s`,
        rate: rateText(scenario.measure, run.rate),
        'ours is faster': run.oursIsFaster === null ? '' : `${run.oursIsFaster.toFixed(1)} x`,
        RSS: memory(run.figures.peakRssMiB),
        loop: share(run.figures.loopShare),
        'server RSS': memory(run.server?.peakRssMiB),
        'server loop': share(run.server?.loopShare),
      }),
    ),
    ...missing.map(({ who, reason }): Row => ({ scenario: scenario.name, who, time: reason })),
  ]);
  const shown = columns({ scenario: 'left', who: 'left', time: 'right', rate: 'right', 'ours is faster': 'right', RSS: 'right', loop: 'right', 'server RSS': 'right', 'server loop': 'right' });
  return listTable(shown, rows, style, false);
}

export function aimTable(aims: readonly Aim[]): string {
  const rows = aims.map(({ met, ...aim }): Row => ({ ...aim, met: met ? 'met' : 'MISSED' }));
  return listTable(columns({ scenario: 'left', aim: 'left', found: 'right', met: 'left' }), rows, style, false);
}
