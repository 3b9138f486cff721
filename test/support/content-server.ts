import type { TestContext } from 'node:test';
import { Accounts } from '../../src/access/accounts.ts';
import { adminGarbageCollectionEndpoints } from '../../src/api/admin/gc.ts';
import { adminPruneEndpoints } from '../../src/api/admin/prune.ts';
import { adminVerifyEndpoints } from '../../src/api/admin/verify.ts';
import { datastoreContentEndpoints } from '../../src/api/admin/datastore-content.ts';
import { datastoreListEndpoints } from '../../src/api/admin/datastore.ts';
import { GarbageCollectionRuns } from '../../src/api/garbage-collection-runs.ts';
import { PruneRuns } from '../../src/api/prune-runs.ts';
import { VerifyRuns, type ForeignVerification } from '../../src/api/verify-runs.ts';
import { systemClock } from '../../src/base/clock.ts';
import { pruneJobTable, verifyJobTable, type PruneJobTable, type VerifyJobTable } from '../../src/config/job-config.ts';
import { userFile } from '../../src/config/user-config.ts';
import { apiGround, testServer, type ApiGround, type TestServer } from './api-ground.ts';
import { goldenStore } from './datastore.ts';

export interface ContentServer extends ApiGround, TestServer {
  /** Folder of the datastore `main`, the test's own. */
  path: string;
  pruneJobs: PruneJobTable;
  verifyJobs: VerifyJobTable;
  prunes: PruneRuns;
  verifications: VerifyRuns;
  collections: GarbageCollectionRuns;
}

/** Everything about the content of datastores, over a copy of the golden one with the recorded accounts of a server. */
export async function contentServer(t: TestContext, options: { golden?: 'source' | 'target'; isForeignVerification?: ForeignVerification } = {}): Promise<ContentServer> {
  const golden = options.golden ?? 'source';
  const copy = await goldenStore();
  const path = copy.store.path;
  copy.store.close();
  const ground = await apiGround(t, golden, golden === 'source' ? { main: path } : { offsite: path });
  t.after(() => copy[Symbol.asyncDispose]());
  const pruneJobs = pruneJobTable(ground.paths);
  const verifyJobs = verifyJobTable(ground.paths);
  const prunes = new PruneRuns({ ...ground, jobs: pruneJobs, timeZone: 'UTC' });
  const verifications = new VerifyRuns({ ...ground, jobs: verifyJobs, isForeignVerification: options.isForeignVerification ?? (() => false) });
  const collections = new GarbageCollectionRuns({ ...ground, locksRoot: ground.paths.locks, timeZone: 'UTC' });
  const parts = { ...ground, accounts: new Accounts(userFile(ground.paths), systemClock), prunes, verifications, collections };
  const server = await testServer(t, ground, [
    ...datastoreListEndpoints(parts),
    ...datastoreContentEndpoints(parts),
    ...adminPruneEndpoints({ jobs: pruneJobs, states: ground.ground.states, access: ground.access, prunes }),
    ...adminVerifyEndpoints({ jobs: verifyJobs, states: ground.ground.states, access: ground.access, verifications }),
    ...adminGarbageCollectionEndpoints(parts),
  ]);
  return { ...ground, ...server, path, pruneJobs, verifyJobs, prunes, verifications, collections };
}
