/**
 * A push in a process of its own, for tests that kill it and for measurements. Argument: JSON of PushProcessOptions. Ends with status 0 and one line of
 * JSON, 1 and the error's text, or by SIGKILL at an armed failpoint.
 */
import { join } from 'node:path';
import { armFailpointsFromText } from '../../src/base/failpoint.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { reportJob, type JobFigures } from './job-process.ts';
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

export interface PushProcessResult extends JobFigures {
  sentChunks: number;
  sentBytes: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as PushProcessOptions;
armFailpointsFromText(options.failpoints ?? '');
const { path, folder, ...line } = options;
const store = await Datastore.open({ name: 'main', path, locksRoot: join(folder, 'locks'), tuning: { syncLevel: 'none' } });
await reportJob(
  () => pushFrom(store, folder, new RemoteEndpoint(line)),
  (report): Omit<PushProcessResult, keyof JobFigures> => ({ sentChunks: report.fetchedChunks, sentBytes: report.fetchedBytes }),
);
store.close();
