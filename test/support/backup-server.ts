import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Accounts } from '../../src/access/accounts.ts';
import { datastoreContentEndpoints } from '../../src/api/admin/datastore-content.ts';
import { backupEndpoints } from '../../src/api/backup.ts';
import { GarbageCollectionRuns } from '../../src/api/garbage-collection-runs.ts';
import { PruneRuns } from '../../src/api/prune-runs.ts';
import { readerEndpoints } from '../../src/api/reader.ts';
import { VerifyRuns } from '../../src/api/verify-runs.ts';
import { versionEndpoints } from '../../src/api/version.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { pruneJobTable, verifyJobTable } from '../../src/config/job-config.ts';
import { userFile } from '../../src/config/user-config.ts';
import { Journals } from '../../src/replication/journals.ts';
import { apiGround, testServer, type ApiGround, type TestServer } from './api-ground.ts';
import { emptyStore } from './datastore.ts';

export interface BackupServer extends ApiGround, TestServer {
  /** Folder of the datastore, empty at first. */
  path: string;
  collections: GarbageCollectionRuns;
}

export interface BackupServerOptions {
  /** Whose accounts. Default `source`. */
  golden?: 'source' | 'target';
  /** Of the datastore. Default `main`. */
  store?: string;
  /** Its folder; a new empty one by default. */
  path?: string;
  verifyNew?: boolean;
}

/** Backup and reader sessions and what clients and pushing peers ask for besides, over one datastore, behind a real HTTP server without TLS. */
export async function backupServer(t: TestContext, options: BackupServerOptions = {}): Promise<BackupServer> {
  const { golden = 'source', store = 'main', verifyNew = false } = options;
  const own = options.path === undefined ? await emptyStore() : null;
  own?.store.close();
  const path = options.path ?? own!.store.path;
  const ground = await apiGround(t, golden, { [store]: path });
  t.after(() => own?.[Symbol.asyncDispose]());
  if (verifyNew) await appendFile(join(ground.paths.config, 'datastore.cfg'), '\tverify-new true\n');
  const log = { ...silentLog, error: (line: string) => ground.complaints.push(line) };
  const prunes = new PruneRuns({ ...ground, jobs: pruneJobTable(ground.paths), timeZone: 'UTC' });
  const verifications = new VerifyRuns({ ...ground, jobs: verifyJobTable(ground.paths), isForeignVerification: () => false });
  const collections = new GarbageCollectionRuns({ ...ground, locksRoot: ground.paths.locks, timeZone: 'UTC' });
  const parts = { ...ground, accounts: new Accounts(userFile(ground.paths), systemClock), prunes, verifications, collections };
  const journals = new Journals(join(ground.paths.state, 'possession'), silentLog);
  const server = await testServer(t, ground, [
    ...versionEndpoints({ programVersion: '0.0.0' }),
    ...backupEndpoints({ datastores: ground.datastores, access: ground.access, tasks: ground.tasks, verifications, uploadsOf: (name, authId) => journals.ofUploader(name, authId), log }),
    ...readerEndpoints({ datastores: ground.datastores, access: ground.access, tasks: ground.tasks, unauthorizedDelayMs: 0 }),
    ...datastoreContentEndpoints(parts),
  ]);
  return { ...ground, ...server, path, collections };
}
