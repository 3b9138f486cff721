import type { ProcessFigures } from '../test/support/process-meter.ts';
import type { SourceProcessFigures } from '../test/support/source-process.ts';
import type { Measure } from './scenarios.ts';
import type { Stock } from './stock.ts';

export type Who = 'farshore' | 'one connection' | 'rsync' | 'reference' | 'to the reference';

/** One contestant in one scenario. */
export interface Run {
  who: Who;
  seconds: number;
  /** False: ended by the time limit; the rates are those until then. */
  finished: boolean;
  /** In the unit of the scenario's measure, per second. */
  rate: number;
  /** Our rate by this one's. */
  oursIsFaster: number | null;
  figures: Partial<ProcessFigures>;
}

export interface PullRun extends Run {
  /** What its datastore held afterwards. */
  stock: Stock;
  /** Of our server as the source; null for rsync, which reads past it. */
  source: SourceProcessFigures | null;
  /** Connections through the line. */
  connections: number | null;
  /** What somebody else's connection carried over the same line, bytes per second; null: there was none. */
  neighbour: { alone: number; beside: number } | null;
}

/** A contestant that did not run, or failed. */
export interface Missing {
  who: Who;
  /** For the table. */
  reason: string;
  error?: string;
}

/** A contestant's client against our server, or one that needs no server. */
export interface ClientRun extends Run {
  /** Of our server, from its start on; null: none was needed. */
  server: ProcessFigures | null;
}

/** What is measured. */
export interface Measured {
  name: string;
  title: string;
  measure: Measure;
}

export interface ScenarioResult<S extends Measured = Measured, R extends Run = Run> {
  scenario: S;
  runs: R[];
  missing: Missing[];
}

export interface Aim {
  scenario: string;
  aim: string;
  found: string;
  met: boolean;
}

const mebibyte = 2 ** 20;

/** Of a pull. */
export function rateOf(measure: Measure, stock: Stock, seconds: number): number {
  if (measure === 'bytes') return stock.chunkBytes / seconds;
  return measure === 'snapshots' ? stock.snapshots / seconds : 1 / seconds;
}

export function rateText(measure: Measure, rate: number): string {
  switch (measure) {
    case 'bytes':
      return `${(rate / mebibyte).toFixed(1)} MiB/s`;
    case 'snapshots':
      return `${rate.toFixed(1)} snapshots/s`;
    case 'files':
      return `${rate.toFixed(0)} files/s`;
    case 'runs':
      return '';
  }
}

/** Fills in `oursIsFaster`. */
export function compare(runs: Run[]): void {
  const ours = runs.find(({ who }) => who === 'farshore');
  for (const run of runs) run.oursIsFaster = ours === undefined || !ours.finished || run === ours ? null : ours.rate / run.rate;
}
