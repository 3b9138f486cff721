/**
 * A pull in a process of its own, for tests that kill it and for measurements. Argument: JSON of PullProcessOptions. Ends with status 0 and one
 * line of JSON, 1 and the error's text, or by SIGKILL at an armed failpoint.
 */
import { join } from 'node:path';
import { armFailpointsFromText } from '../../src/base/failpoint.ts';
import { systemClock } from '../../src/base/clock.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import type { DatastoreTuning } from '../../src/datastore/tuning.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { reportJob, type JobFigures } from './job-process.ts';
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

export interface PullProcessResult extends JobFigures {
  fetchedChunks: number;
  fetchedBytes: number;
  roundTripMs: number;
  flightLimit: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as PullProcessOptions;
armFailpointsFromText(options.failpoints ?? '');
const store = await Datastore.open({ name: 'main', path: join(options.folder, 'main'), locksRoot: join(options.folder, 'locks'), tuning: options.tuning ?? { syncLevel: 'none' } });
const flight = new FlightControl(systemClock, { fixedChunks: options.fixedChunks });
await reportJob(
  () => pullInto(store, options.folder, endpointOf(options.port, options.fingerprint, options.secret), { flight, maxLanes: options.maxLanes, parallelSnapshots: options.parallelSnapshots }),
  (report): Omit<PullProcessResult, keyof JobFigures> => ({
    fetchedChunks: report.fetchedChunks,
    fetchedBytes: report.fetchedBytes,
    roundTripMs: flight.roundTripMs,
    flightLimit: flight.limit,
  }),
);
store.close();
