import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { syncAdminEndpoints } from '../../src/api/admin/sync.ts';
import { datastoreConfigEndpoints } from '../../src/api/config/datastore.ts';
import { encryptionKeyEndpoints } from '../../src/api/config/encryption-keys.ts';
import { pruneConfigEndpoints } from '../../src/api/config/prune.ts';
import { remoteScanEndpoints } from '../../src/api/config/remote-scan.ts';
import { remoteTestEndpoints } from '../../src/api/config/remote-test.ts';
import { remoteConfigEndpoints } from '../../src/api/config/remote.ts';
import { syncConfigEndpoints } from '../../src/api/config/sync.ts';
import { trafficConfigEndpoints } from '../../src/api/config/traffic-control.ts';
import { verifyConfigEndpoints } from '../../src/api/config/verify.ts';
import { DatastoreCreations } from '../../src/api/datastore-creation.ts';
import { DatastoreRemovals } from '../../src/api/datastore-removal.ts';
import type { Endpoint } from '../../src/api/endpoint.ts';
import { pullEndpoints } from '../../src/api/pull.ts';
import type { PullParameters } from '../../src/api/sync-runs.ts';
import { Router } from '../../src/api/router.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { aclFile, type AclFile } from '../../src/config/acl-config.ts';
import { datastoreTable, type DatastoreTable } from '../../src/config/datastore-config.ts';
import { EncryptionKeys } from '../../src/config/encryption-keys.ts';
import { JobMemories } from '../../src/replication/job-memory.ts';
import { BackfillJobs } from '../../src/config/backfill-jobs.ts';
import { JobBandwidth } from '../../src/config/job-bandwidth.ts';
import { settingsFile } from '../../src/config/farshore-config.ts';
import { pruneJobTable, syncJobTable, verifyJobTable, type PruneJobTable, type SyncJobTable, type VerifyJobTable } from '../../src/config/job-config.ts';
import { remoteTable, type RemoteTable } from '../../src/config/remote-config.ts';
import { RemoteSecrets } from '../../src/config/remote-secrets.ts';
import { trafficRuleTable } from '../../src/config/traffic-config.ts';
import { listenTls } from '../../src/server/listener.ts';
import { apiGround, testGatekeeper, testServer, type ApiGround, type TestServer } from './api-ground.ts';
import { makeCertificate } from './certificate.ts';
import { configFixtures } from './installation.ts';
import { unpackGoldenTasks } from './golden-tasks.ts';

/** Everything below /config that this project has, /admin/sync and /pull, over the configuration of a recorded server. */
export interface ConfigApi extends ApiGround {
  server: TestServer;
  table: DatastoreTable;
  remotes: RemoteTable;
  secrets: RemoteSecrets;
  syncJobs: SyncJobTable;
  pruneJobs: PruneJobTable;
  verifyJobs: VerifyJobTable;
  acl: AclFile;
  /** What was asked of the runner: `job id` or the parameters of a pull, and for whom. */
  started: Array<{ what: string | PullParameters; authId: string }>;
  /** Names of datastores that were reported as removed. */
  removed: string[];
}

/** `stores`: name to folder; without it the recorded datastore.cfg, whose folders do not exist. */
export async function configApi(t: TestContext, golden: 'source' | 'target', stores?: Readonly<Record<string, string>>): Promise<ConfigApi> {
  const ground = await apiGround(t, golden, stores ?? {});
  const { paths, access, datastores, tasks } = ground;
  if (stores === undefined) await copyFile(join(configFixtures, golden, 'datastore.cfg'), join(paths.config, 'datastore.cfg'));
  if (golden === 'target') {
    await unpackGoldenTasks('lib/jobstates/', paths.jobStates);
    await unpackGoldenTasks('log/tasks/', paths.tasks);
  }
  const { states } = ground.ground;
  const parts = { table: datastoreTable(paths), remotes: remoteTable(paths), secrets: new RemoteSecrets(paths, settingsFile(paths)), syncJobs: syncJobTable(paths), pruneJobs: pruneJobTable(paths), verifyJobs: verifyJobTable(paths), acl: aclFile(paths) };
  const started: ConfigApi['started'] = [];
  const removed: string[] = [];
  const start = (what: string | PullParameters, authId: string): Promise<string> => {
    started.push({ what, authId });
    return Promise.resolve('UPID:started');
  };
  const jobs = parts.syncJobs;
  const keys = new EncryptionKeys(paths);
  const endpoints: Endpoint[] = [
    ...datastoreConfigEndpoints({
      table: parts.table,
      access,
      states,
      creations: new DatastoreCreations({ ...parts, datastores, states, tasks }),
      removals: new DatastoreRemovals({ ...parts, datastores, states, tasks, onRemoved: async (name) => void removed.push(name) }),
    }),
    ...remoteConfigEndpoints({ ...parts, access, jobs }),
    ...remoteScanEndpoints(parts),
    ...remoteTestEndpoints({ ...parts, access, jobs }),
    ...syncConfigEndpoints({ jobs, access, states, keys, backfill: new BackfillJobs(settingsFile(paths)), bandwidth: new JobBandwidth(settingsFile(paths)), memories: new JobMemories(paths.jobStates, null, silentLog) }),
    ...encryptionKeyEndpoints({ keys, access, jobs, clock: systemClock }),
    ...pruneConfigEndpoints({ jobs: parts.pruneJobs, access, states }),
    ...verifyConfigEndpoints({ jobs: parts.verifyJobs, access, states }),
    ...trafficConfigEndpoints({ rules: trafficRuleTable(paths), onChange: () => {} }),
    ...syncAdminEndpoints({ jobs, access, states, runSyncJob: start, claimAdopted: () => Promise.resolve(), planSyncJob: () => Promise.reject(new Error('not planned here')) }),
    ...pullEndpoints({ access, datastores, pull: start }),
  ];
  return { ...ground, ...parts, started, removed, server: await testServer(t, ground, endpoints) };
}

/** Gives `subject` exactly these privileges' roles: replaces what it has on `path`. */
export async function grant(acl: AclFile, subject: string, path: string, role: string): Promise<void> {
  await acl.update((tree) => tree.insert({ path, subject, role, propagate: true }));
}

/** A server that another one can have as its remote: these endpoints behind our own TLS listener. Credentials: see `testGatekeeper`. */
export async function tlsServer(t: TestContext, { access }: Pick<ApiGround, 'access'>, endpoints: readonly Endpoint[]): Promise<{ port: number; fingerprint: string }> {
  const { cert, key, fingerprint } = await makeCertificate();
  const router = new Router({ endpoints, gatekeeper: testGatekeeper(access), log: silentLog, delays: { unauthorizedMs: 0, forbiddenMs: 0 } });
  const listener = await listenTls({ router, address: { host: '127.0.0.1', port: 0 }, certificate: { certificate: cert, key, fingerprint }, log: silentLog });
  t.after(() => listener.close(0));
  const { address } = listener;
  if (typeof address === 'string') throw new Error('a TLS listener has a port');
  return { port: address.port, fingerprint };
}
