/**
 * A push in a process of its own, for tests that kill it and for measurements. Argument: JSON of PushProcessOptions. Ends with status 0 and one line of
 * JSON, 1 and the error's text, or by SIGKILL at an armed failpoint.
 */
import { join } from 'node:path';
import { armFailpointsFromText } from '../../src/base/failpoint.ts';
import { errorChain } from '../../src/base/errors.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { ProcessMeter, type ProcessFigures } from './process-meter.ts';
import { pushFrom } from './push-pair.ts';

export interface PushProcessOptions {
  /** The datastore that is pushed. */
  path: string;
  /** For locks, the journal and indexes on their way; exists. */
  folder: string;
  host: string;
  port: number;
  authId: string;
  secret: string;
  fingerprint: string;
  failpoints?: string;
}

export interface PushProcessResult extends ProcessFigures {
  seconds: number;
  snapshots: number;
  sentChunks: number;
  sentBytes: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as PushProcessOptions;
armFailpointsFromText(options.failpoints ?? '');
const { path, folder, ...line } = options;
const store = await Datastore.open({ name: 'main', path, locksRoot: join(folder, 'locks'), tuning: { syncLevel: 'none' } });
const meter = new ProcessMeter();
const startedMs = performance.now();
const { report, error, log } = await pushFrom(store, folder, new RemoteEndpoint(line));
const seconds = (performance.now() - startedMs) / 1000;
const figures = meter.figures();
meter.stop();
store.close();
if (report === null) {
  console.error(`${errorChain(error)}\n${log.lines.join('\n')}`);
  process.exitCode = 1;
} else {
  const result: PushProcessResult = { seconds, snapshots: report.snapshots, sentChunks: report.fetchedChunks, sentBytes: report.fetchedBytes, ...figures };
  console.log(JSON.stringify(result));
}
