import { hostname } from 'node:os';
import { join } from 'node:path';
import { AccessControl } from '../access/access-control.ts';
import { AccountChanger, Accounts } from '../access/accounts.ts';
import { ApiTokens } from '../access/api-tokens.ts';
import { AttemptLimit } from '../access/attempt-limit.ts';
import { AuditLog } from '../access/audit-log.ts';
import { Authenticator } from '../access/authenticator.ts';
import { FactorChanges } from '../access/factor-changes.ts';
import { Login } from '../access/login.ts';
import { PbsRealm, realmFinder } from '../access/realm.ts';
import { SecondFactor } from '../access/second-factor.ts';
import { loadServerKeys } from '../access/server-keys.ts';
import { AuditTrail } from '../api/audit-trail.ts';
import { Datastores } from '../api/datastores.ts';
import type { Endpoint } from '../api/endpoint.ts';
import { lookAtContract } from '../api/freshness-evidence.ts';
import { Gatekeeping } from '../api/gatekeeping.ts';
import { HistorySampler } from '../api/history-sampler.ts';
import { openApiDocument } from '../api/openapi.ts';
import { Router, type Delays } from '../api/router.ts';
import { SyncLoops } from '../api/sync-loops.ts';
import { SyncRuns } from '../api/sync-runs.ts';
import { TrafficControl } from '../api/traffic/traffic-control.ts';
import { registerValueFormats } from '../api/value-formats.ts';
import type { Clock } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import { aclFile } from '../config/acl-config.ts';
import { datastoreTable } from '../config/datastore-config.ts';
import { domainFile } from '../config/domain-config.ts';
import { EncryptionKeys } from '../config/encryption-keys.ts';
import { settingsFile } from '../config/farshore-config.ts';
import { freshnessTable } from '../config/freshness-config.ts';
import { loadInstanceId } from '../config/instance-id.ts';
import { prepareInstallation, type InstallationPaths } from '../config/home.ts';
import { pruneJobTable, syncJobTable, verifyJobTable } from '../config/job-config.ts';
import { nodeFile } from '../config/node-config.ts';
import { remoteTable } from '../config/remote-config.ts';
import { RemoteSecrets } from '../config/remote-secrets.ts';
import { shadowFile, tokenShadowFile } from '../config/shadow-config.ts';
import { tfaFile } from '../config/tfa-config.ts';
import { trafficRuleTable } from '../config/traffic-config.ts';
import { userFile } from '../config/user-config.ts';
import { beat } from '../freshness/heartbeat.ts';
import { FreshnessMemoryFile } from '../freshness/memory.ts';
import { FreshnessWatch } from '../freshness/watch.ts';
import { freshnessNotices } from '../notify/freshness-notices.ts';
import type { Notifier } from '../notify/notifier.ts';
import { History } from '../metrics/history.ts';
import { AdoptedCopies } from '../replication/adopted-copies.ts';
import { JobMemories } from '../replication/job-memory.ts';
import { Journals } from '../replication/journals.ts';
import { JobStates } from '../schedule/job-states.ts';
import type { JobGround } from '../schedule/job-run.ts';
import { formatLocalTime, processTimeZone } from '../schedule/local-time.ts';
import { logRotationSource } from '../schedule/log-rotation-job.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import { WorkerTasks } from '../schedule/worker-tasks.ts';
import { formatAccessLine } from './access-log.ts';
import { configuredCiphers } from './ciphers.ts';
import { apiEndpoints } from './endpoints.ts';
import { LogFile } from './log-file.ts';
import { loggedAlarms } from './logged-alarms.ts';
import { composePages } from './monitoring.ts';
import { composeNotifications } from './notifications.ts';
import { ServedCertificate } from './served-certificate.ts';

export interface CompositionOptions {
  installation: InstallationPaths;
  /** Version of this package. */
  programVersion: string;
  log: ProgressLog;
  clock: Clock;
  /** Milliseconds of a clock that nobody sets; default: the process's. */
  monotonicMs?: () => number;
  /** Against guessing; shorter only in tests. */
  delays?: Delays;
}

/** All objects of one installation, put together. The server listens with it; the manager uses it in its own process where no server runs. */
export interface Composition {
  router: Router;
  certificates: ServedCertificate;
  /** For the listener, by node.cfg; undefined: the usual ones. */
  ciphers: string | undefined;
  tasks: WorkerTasks;
  /** For the listener. */
  traffic: TrafficControl;
  audit: AuditLog;
  /** Tells people what happened. */
  notifications: Notifier;
  /** Not started. */
  scheduler: Scheduler;
  /** Not started. */
  freshness: FreshnessWatch;
  /** Not started. */
  sampler: HistorySampler;
  /** Ends what runs, within about `graceMs`: tasks are aborted, and what they were doing is whole or absent. */
  close(graceMs: number): Promise<void>;
  /** Waits for running tasks instead of aborting them. */
  settle(): Promise<void>;
}

/** For messages that are still on their way when everything ends. */
const notificationGraceMs = 10_000;

/** Makes what is missing of the installation (folders, keys, certificate) and everything that the server consists of. */
export async function compose(options: CompositionOptions): Promise<Composition> {
  const { installation, log, clock } = options;
  registerValueFormats();
  await prepareInstallation(installation);
  const node = hostname().split('.')[0] ?? 'localhost';
  const certificates = await ServedCertificate.open({
    files: { certificate: join(installation.config, 'proxy.pem'), key: join(installation.config, 'proxy.key') },
    hostName: hostname(),
    rights: installation.serviceUser === null ? { mode: 0o600, owner: null } : { mode: 0o640, owner: { uid: 0, gid: installation.serviceUser.gid } },
    clock,
    log,
  });

  const accessLog = new LogFile('API access log', join(installation.log, 'api', 'access.log'), log);
  const authLog = new LogFile('API authentication log', join(installation.log, 'api', 'auth.log'), log);
  const writeAuthLog = (line: string): void => authLog.append(`${formatLocalTime(Math.floor(clock.now() / 1000), processTimeZone())}: ${line}`);

  const audit = new AuditLog({ folder: join(installation.log, 'audit'), owner: installation.serviceUser === null ? null : { uid: 0, gid: 0 }, clock, log });
  const trail = new AuditTrail(audit, clock);

  const files = { users: userFile(installation), domains: domainFile(installation), acl: aclFile(installation), tfa: tfaFile(installation), node: nodeFile(installation) };
  const tables = {
    datastores: datastoreTable(installation),
    remotes: remoteTable(installation),
    syncJobs: syncJobTable(installation),
    pruneJobs: pruneJobTable(installation),
    verifyJobs: verifyJobTable(installation),
    trafficRules: trafficRuleTable(installation),
  };
  const traffic = new TrafficControl({ table: tables.trafficRules, clock, log });
  const access = new AccessControl(files.acl);
  const accounts = new Accounts(files.users, clock);
  const tokens = new ApiTokens(tokenShadowFile(installation));
  const realmOf = realmFinder(files.domains, new PbsRealm(shadowFile(installation)));
  const changer = new AccountChanger({ ...files, tokens, realmOf });
  const keys = await loadServerKeys(installation);
  const login = new Login({ keys, accounts, realmOf, secondFactor: new SecondFactor(files.tfa, clock), attempts: new AttemptLimit(clock), clock });
  const settings = settingsFile(installation);
  const secrets = new RemoteSecrets(installation, settings);
  const encryptionKeys = new EncryptionKeys(installation);

  const folder = { path: installation.tasks, owner: installation.serviceUser };
  const tasks = new WorkerTasks({ folder, node, clock, log, onStart: (upid, description) => void trail.task(upid, description) });
  await tasks.registry.refresh();
  const states = new JobStates({ path: installation.jobStates, owner: installation.serviceUser }, tasks, clock);
  const ground: JobGround = { states, tasks, log };
  const datastores = new Datastores(tables.datastores, { locksRoot: installation.locks, log });
  const journals = new Journals(join(installation.state, 'possession'), log);
  const notifications = composeNotifications({ installation, accounts, node: files.node, datastores: tables.datastores, hostName: node, programVersion: options.programVersion, log, clock });
  const instanceId = await loadInstanceId(installation);
  const memories = new JobMemories(installation.jobStates, installation.serviceUser, log);
  const adopted = new AdoptedCopies(join(installation.state, 'adopted'));
  const syncLoops = new SyncLoops({ jobs: tables.syncJobs, memories, instanceId });
  const syncRuns = new SyncRuns({ notices: notifications.notices, loops: syncLoops, memories, adopted, pruneJobs: tables.pruneJobs, datastores, remotes: tables.remotes, secrets, settings, keys: encryptionKeys, jobs: tables.syncJobs, access, journals, ground });

  const history = new History(join(installation.state, 'metrics.sqlite'), log);
  const sampler = new HistorySampler({ datastores, history, clock, log });
  const contracts = freshnessTable(installation);
  const freshness = new FreshnessWatch({
    contracts: () => contracts.list().records,
    look: (contract, now) => lookAtContract({ datastores, jobs: tables.syncJobs, states, memories }, contract, now),
    alarms: loggedAlarms(log, freshnessNotices({ notifier: notifications.notifier, clock })),
    beat,
    memory: new FreshnessMemoryFile(join(installation.state, 'freshness.json'), installation.serviceUser, log),
    clock,
    monotonicMs: options.monotonicMs ?? (() => performance.now()),
    log,
  });

  const built = apiEndpoints({ notifications, contracts, freshness, history, options, files, tables, access, accounts, changer, login, factors: new FactorChanges(files.tfa, clock), secrets, encryptionKeys, tasks, states, ground, datastores, journals, syncRuns, certificates, instanceId, settings, memories, adopted, syncLoops, locksRoot: installation.locks, authLog: writeAuthLog, traffic, audit });
  const endpoints: Endpoint[] = built.endpoints;
  const gatekeeping = new Gatekeeping({ authenticator: new Authenticator({ keys, accounts, tokens, clock }), access, authLog: writeAuthLog });
  const router = new Router({
    endpoints,
    gatekeeper: gatekeeping,
    log,
    ...(options.delays === undefined ? {} : { delays: options.delays }),
    pages: composePages({
      gatekeeping, access, datastores, tables, states, memories, tasks, freshness, clock, log,
      programVersion: options.programVersion,
      unauthorizedMs: options.delays?.unauthorizedMs ?? 3000,
      openApi: () => openApiDocument(endpoints, options.programVersion),
    }),
    audit: trail,
    onCaller: (connection, authId) => traffic.identify(connection, authId),
    onAccess: (entry) => accessLog.append(formatAccessLine(entry, new Date(clock.now()))),
  });
  const scheduler = new Scheduler({
    sources: [...built.jobSources, logRotationSource({ ground, folder, clock, maxDays: () => Promise.resolve(files.node.load().value.record['task-log-max-days']), others: [accessLog, authLog] })],
    states,
    clock,
    log,
  });

  const release = async (): Promise<void> => {
    await datastores.closeAll();
    history.close();
    await accessLog.close();
    await authLog.close();
    await audit.close();
  };
  return {
    router,
    certificates,
    ciphers: configuredCiphers(files.node.load().value.record),
    tasks,
    notifications: notifications.notifier,
    traffic,
    audit,
    scheduler,
    freshness,
    sampler,
    close: async (graceMs) => {
      await scheduler.stop();
      await freshness.stop();
      await sampler.stop();
      await tasks.shutdown(graceMs);
      await notifications.notifier.close(Math.min(graceMs, notificationGraceMs));
      await release();
    },
    settle: async () => {
      await tasks.idle();
      await tasks.shutdown(0);
      await notifications.notifier.close(notificationGraceMs);
      await release();
    },
  };
}
