/**
 * A pull in a process of its own, for tests that kill it and for measurements. Argument: JSON of PullProcessOptions. Ends with status 0 and one
 * line of JSON, 1 and the error's text, or by SIGKILL at an armed failpoint.
 */
import { join } from 'node:path';
import { armFailpointsFromText } from '../../src/base/failpoint.ts';
import { errorChain } from '../../src/base/errors.ts';
import { systemClock } from '../../src/base/clock.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import type { DatastoreTuning } from '../../src/datastore/tuning.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { ProcessMeter, type ProcessFigures } from './process-meter.ts';
import { endpointOf } from './sync-source.ts';
import { pullInto } from './sync-pair.ts';

export interface PullProcessOptions {
  /** Holds `main`, `locks` and `journals`. */
  folder: string;
  port: number;
  fingerprint: string;
  /** Of the token; default as our test source takes it. */
  secret?: string;
  failpoints?: string;
  tuning?: Partial<DatastoreTuning>;
  /** So many chunks in flight instead of what the line takes. */
  fixedChunks?: number;
  maxLanes?: number;
  parallelSnapshots?: number;
}

export interface PullProcessResult extends ProcessFigures {
  seconds: number;
  snapshots: number;
  fetchedChunks: number;
  fetchedBytes: number;
  roundTripMs: number;
  flightLimit: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as PullProcessOptions;
armFailpointsFromText(options.failpoints ?? '');
const store = await Datastore.open({ name: 'main', path: join(options.folder, 'main'), locksRoot: join(options.folder, 'locks'), tuning: options.tuning ?? { syncLevel: 'none' } });
const flight = new FlightControl(systemClock, { fixedChunks: options.fixedChunks });
const meter = new ProcessMeter();
const startedMs = performance.now();
const { report, error, log } = await pullInto(store, options.folder, endpointOf(options.port, options.fingerprint, options.secret), { flight, maxLanes: options.maxLanes, parallelSnapshots: options.parallelSnapshots });
const seconds = (performance.now() - startedMs) / 1000;
const figures = meter.figures();
meter.stop();
store.close();
if (report === null) {
  console.error(`${errorChain(error)}\n${log.lines.join('\n')}`);
  process.exitCode = 1;
} else {
  const result: PullProcessResult = {
    seconds,
    snapshots: report.snapshots,
    fetchedChunks: report.fetchedChunks,
    fetchedBytes: report.fetchedBytes,
    roundTripMs: flight.roundTripMs,
    flightLimit: flight.limit,
    ...figures,
  };
  console.log(JSON.stringify(result));
}
