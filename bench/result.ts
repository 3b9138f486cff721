import type { ProcessFigures } from '../test/support/process-meter.ts';
import type { SourceProcessFigures } from '../test/support/source-process.ts';
import type { Measure, Scenario } from './scenarios.ts';
import type { Stock } from './stock.ts';

export type Who = 'farshore' | 'one connection' | 'rsync' | 'reference';

/** One contestant in one scenario. */
export interface Run {
  who: Who;
  seconds: number;
  /** False: ended by the time limit; the rates are those until then. */
  finished: boolean;
  /** What its datastore held afterwards. */
  stock: Stock;
  /** In the unit of the scenario's measure, per second. */
  rate: number;
  /** Our rate by this one's. */
  oursIsFaster: number | null;
  figures: Partial<ProcessFigures>;
  /** Of our server as the source; null for rsync, which reads past it. */
  source: SourceProcessFigures | null;
  /** Connections through the line. */
  connections: number | null;
}

/** A contestant that did not run, or failed. */
export interface Missing {
  who: Who;
  /** For the table. */
  reason: string;
  error?: string;
}

export interface ScenarioResult {
  scenario: Scenario;
  runs: Run[];
  missing: Missing[];
}

export interface Aim {
  scenario: string;
  aim: string;
  found: string;
  met: boolean;
}

const mebibyte = 2 ** 20;

export function rateOf(measure: Measure, stock: Stock, seconds: number): number {
  switch (measure) {
    case 'bytes':
      return stock.chunkBytes / seconds;
    case 'snapshots':
      return stock.snapshots / seconds;
    case 'runs':
      return 1 / seconds;
  }
}

export function rateText(measure: Measure, rate: number): string {
  switch (measure) {
    case 'bytes':
      return `${(rate / mebibyte).toFixed(1)} MiB/s`;
    case 'snapshots':
      return `${rate.toFixed(1)} snapshots/s`;
    case 'runs':
      return '';
  }
}

/** Fills in `oursIsFaster`. */
export function compare(runs: Run[]): void {
  const ours = runs.find(({ who }) => who === 'farshore');
  for (const run of runs) run.oursIsFaster = ours === undefined || !ours.finished || run === ours ? null : ours.rate / run.rate;
}
