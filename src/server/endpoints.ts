import type { AccessControl } from '../access/access-control.ts';
import type { AccountChanger, Accounts } from '../access/accounts.ts';
import type { AuditLog } from '../access/audit-log.ts';
import type { FactorChanges } from '../access/factor-changes.ts';
import type { Login } from '../access/login.ts';
import { absentEndpoints } from '../api/absent.ts';
import { aclEndpoints } from '../api/access/acl.ts';
import { domainEndpoints } from '../api/access/domains.ts';
import { passwordEndpoints } from '../api/access/password.ts';
import { permissionEndpoints } from '../api/access/permissions.ts';
import { roleEndpoints } from '../api/access/roles.ts';
import { tfaEndpoints } from '../api/access/tfa.ts';
import { ticketEndpoints } from '../api/access/ticket.ts';
import { userTokenEndpoints } from '../api/access/user-tokens.ts';
import { userEndpoints } from '../api/access/users.ts';
import { datastoreContentEndpoints } from '../api/admin/datastore-content.ts';
import { chunkSizeEndpoints } from '../api/admin/datastore/chunk-sizes.ts';
import { replicationEdgeEndpoints } from '../api/admin/datastore/replication-edges.ts';
import { datastoreListEndpoints } from '../api/admin/datastore.ts';
import { adminGarbageCollectionEndpoints } from '../api/admin/gc.ts';
import { adminPruneEndpoints } from '../api/admin/prune.ts';
import { syncAdminEndpoints } from '../api/admin/sync.ts';
import { trafficStatusEndpoints } from '../api/admin/traffic-control.ts';
import { datastoreRrdEndpoints } from '../api/admin/datastore/rrd.ts';
import { adminVerifyEndpoints } from '../api/admin/verify.ts';
import { auditEndpoints } from '../api/audit.ts';
import type { AuthLog } from '../api/auth-log.ts';
import { backupEndpoints } from '../api/backup.ts';
import { datastoreConfigEndpoints } from '../api/config/datastore.ts';
import { encryptionKeyEndpoints } from '../api/config/encryption-keys.ts';
import { freshnessConfigEndpoints } from '../api/config/freshness.ts';
import { notificationTargetEndpoints } from '../api/config/notifications/endpoints.ts';
import { notificationMatcherEndpoints } from '../api/config/notifications/matchers.ts';
import { notificationEndpoints } from '../api/config/notifications/targets.ts';
import { pruneConfigEndpoints } from '../api/config/prune.ts';
import { realmConfigEndpoints } from '../api/config/realms.ts';
import { remoteScanEndpoints } from '../api/config/remote-scan.ts';
import { remoteTestEndpoints } from '../api/config/remote-test.ts';
import { remoteConfigEndpoints } from '../api/config/remote.ts';
import { syncConfigEndpoints } from '../api/config/sync.ts';
import { trafficConfigEndpoints } from '../api/config/traffic-control.ts';
import { verifyConfigEndpoints } from '../api/config/verify.ts';
import { webauthnEndpoints } from '../api/config/webauthn.ts';
import { DatastoreCreations, recordAdoption } from '../api/datastore-creation.ts';
import { DatastoreRemovals } from '../api/datastore-removal.ts';
import type { Datastores } from '../api/datastores.ts';
import type { Endpoint } from '../api/endpoint.ts';
import { GarbageCollectionRuns } from '../api/garbage-collection-runs.ts';
import { farshoreEndpoints } from '../api/farshore.ts';
import { aptEndpoints } from '../api/nodes/apt.ts';
import { certificateEndpoints } from '../api/nodes/certificates.ts';
import { nodeConfigEndpoints } from '../api/nodes/config.ts';
import { dnsEndpoints } from '../api/nodes/dns.ts';
import { identityEndpoints } from '../api/nodes/identity.ts';
import { nodeListEndpoints } from '../api/nodes/node-list.ts';
import { reportEndpoints } from '../api/nodes/report.ts';
import { nodeRrdEndpoints } from '../api/nodes/rrd.ts';
import { nodeStatusEndpoints } from '../api/nodes/status.ts';
import { subscriptionEndpoints } from '../api/nodes/subscription.ts';
import { taskEndpoints } from '../api/nodes/tasks.ts';
import { timeEndpoints } from '../api/nodes/time.ts';
import { PruneRuns } from '../api/prune-runs.ts';
import { pullEndpoints } from '../api/pull.ts';
import { pushEndpoints } from '../api/push.ts';
import { readerEndpoints } from '../api/reader.ts';
import { datastoreUsageEndpoints } from '../api/status/datastore-usage.ts';
import { freshnessStatusEndpoints } from '../api/status/freshness.ts';
import type { SyncLoops } from '../api/sync-loops.ts';
import { SyncPlans } from '../api/sync-plans.ts';
import type { SyncRuns } from '../api/sync-runs.ts';
import type { TrafficControl } from '../api/traffic/traffic-control.ts';
import { VerifyRuns } from '../api/verify-runs.ts';
import { versionEndpoints } from '../api/version.ts';
import type { Clock } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import type { AclFile } from '../config/acl-config.ts';
import type { DatastoreTable } from '../config/datastore-config.ts';
import type { EncryptionKeys } from '../config/encryption-keys.ts';
import { BackfillJobs } from '../config/backfill-jobs.ts';
import { JobBandwidth } from '../config/job-bandwidth.ts';
import type { FreshnessTable } from '../config/freshness-config.ts';
import type { SettingsFile } from '../config/farshore-config.ts';
import type { SectionFile } from '../config/files.ts';
import type { PruneJobTable, SyncJobTable, VerifyJobTable } from '../config/job-config.ts';
import type { RemoteTable } from '../config/remote-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import type { NodeFile } from '../config/node-config.ts';
import type { TfaFile } from '../config/tfa-config.ts';
import type { TrafficRuleTable } from '../config/traffic-config.ts';
import type { History } from '../metrics/history.ts';
import type { FreshnessWatch } from '../freshness/watch.ts';
import type { AdoptedCopies } from '../replication/adopted-copies.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import type { Journals } from '../replication/journals.ts';
import type { JobGround } from '../schedule/job-run.ts';
import type { JobStates } from '../schedule/job-states.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { WorkerTasks } from '../schedule/worker-tasks.ts';
import type { Notifications } from './notifications.ts';
import type { ServedCertificate } from './served-certificate.ts';

/** What the endpoint groups are made of; each takes only what it names. */
export interface ApiParts {
  options: { programVersion: string; log: ProgressLog; clock: Clock };
  files: { acl: AclFile; domains: SectionFile; tfa: TfaFile; node: NodeFile };
  tables: { datastores: DatastoreTable; remotes: RemoteTable; syncJobs: SyncJobTable; pruneJobs: PruneJobTable; verifyJobs: VerifyJobTable; trafficRules: TrafficRuleTable };
  access: AccessControl;
  accounts: Accounts;
  changer: AccountChanger;
  login: Login;
  factors: FactorChanges;
  secrets: RemoteSecrets;
  encryptionKeys: EncryptionKeys;
  tasks: WorkerTasks;
  states: JobStates;
  ground: JobGround;
  datastores: Datastores;
  journals: Journals;
  syncRuns: SyncRuns;
  syncLoops: SyncLoops;
  memories: JobMemories;
  adopted: AdoptedCopies;
  settings: SettingsFile;
  notifications: Notifications;
  contracts: FreshnessTable;
  freshness: FreshnessWatch;
  history: History;
  certificates: ServedCertificate;
  instanceId: string;
  locksRoot: string;
  authLog: AuthLog;
  traffic: TrafficControl;
  audit: AuditLog;
}

/** Every endpoint of the API, and the jobs that they configure, for the scheduler. */
export function apiEndpoints(parts: ApiParts): { endpoints: Endpoint[]; jobSources: JobSource[] } {
  const runs = maintenanceRuns(parts);
  return {
    endpoints: [...generalEndpoints(parts), ...accessEndpoints(parts), ...nodeEndpoints(parts), ...contentEndpoints(parts, runs), ...configEndpoints(parts), ...syncEndpoints(parts), ...absentEndpoints()],
    jobSources: [runs.collections.jobSource(), runs.prunes.jobSource(), runs.verifications.jobSource(), parts.syncRuns.jobSource()],
  };
}

interface MaintenanceRuns {
  prunes: PruneRuns;
  verifications: VerifyRuns;
  collections: GarbageCollectionRuns;
}

function maintenanceRuns(parts: ApiParts): MaintenanceRuns {
  const { datastores, access, ground, tables, journals } = parts;
  const { notices } = parts.notifications;
  return {
    prunes: new PruneRuns({ datastores, access, jobs: tables.pruneJobs, ground, notices }),
    verifications: new VerifyRuns({
      datastores,
      access,
      jobs: tables.verifyJobs,
      ground,
      notices,
      isForeignVerification: (store, namespace, snapshot, upid) => journals.isForeignVerification(store, namespace, snapshot, upid),
    }),
    collections: new GarbageCollectionRuns({ datastores, ground, locksRoot: parts.locksRoot, notices }),
  };
}

function contentEndpoints(parts: ApiParts, runs: MaintenanceRuns): Endpoint[] {
  const { datastores, access, accounts, states, tables } = parts;
  return [
    ...readerEndpoints(parts),
    ...backupEndpoints({ datastores, access, tasks: parts.tasks, verifications: runs.verifications, uploadsOf: (store, authId) => parts.journals.ofUploader(store, authId), log: parts.options.log }),
    ...chunkSizeEndpoints({ datastores, access }),
    ...replicationEdgeEndpoints({ edgesOf: (store, direction) => parts.syncLoops.edgesOf(store, direction) }),
    ...datastoreListEndpoints({ datastores, access }),
    ...datastoreRrdEndpoints({ datastores, clock: parts.options.clock, history: parts.history }),
    ...datastoreContentEndpoints({ datastores, access, accounts, tasks: parts.tasks, ...runs }),
    ...adminPruneEndpoints({ jobs: tables.pruneJobs, states, access, prunes: runs.prunes }),
    ...adminVerifyEndpoints({ jobs: tables.verifyJobs, states, access, verifications: runs.verifications }),
    ...adminGarbageCollectionEndpoints({ datastores, access, collections: runs.collections }),
  ];
}

function configEndpoints(parts: ApiParts): Endpoint[] {
  const { tables, access, states, secrets, tasks, datastores } = parts;
  const remote = { remotes: tables.remotes, secrets };
  const shared = { table: tables.datastores, datastores, tasks, states };
  return [
    ...datastoreConfigEndpoints({
      table: tables.datastores,
      access,
      states,
      creations: new DatastoreCreations({ ...shared, pruneJobs: tables.pruneJobs, onReused: (store, context) => recordAdoption(parts.adopted, store, context) }),
      removals: new DatastoreRemovals({ ...shared, syncJobs: tables.syncJobs, pruneJobs: tables.pruneJobs, verifyJobs: tables.verifyJobs, acl: parts.files.acl, onRemoved: (name) => parts.adopted.forget(name) }),
    }),
    ...remoteConfigEndpoints({ ...remote, access, jobs: tables.syncJobs }),
    ...remoteScanEndpoints(remote),
    ...remoteTestEndpoints({ ...remote, access, jobs: tables.syncJobs }),
    ...pruneConfigEndpoints({ jobs: tables.pruneJobs, access, states }),
    ...verifyConfigEndpoints({ jobs: tables.verifyJobs, access, states }),
    ...trafficConfigEndpoints({ rules: tables.trafficRules, onChange: () => parts.traffic.refresh() }),
    ...trafficStatusEndpoints({ rules: tables.trafficRules, traffic: parts.traffic }),
    ...auditEndpoints({ log: parts.audit }),
    ...notificationTargetEndpoints(parts.notifications),
    ...notificationMatcherEndpoints(parts.notifications),
    ...notificationEndpoints({ ...parts.notifications, ...tables }),
    ...freshnessConfigEndpoints({ contracts: parts.contracts, jobs: tables.syncJobs, access, clock: parts.options.clock }),
    ...freshnessStatusEndpoints({ contracts: parts.contracts, watch: parts.freshness, access }),
  ];
}

function syncEndpoints({ tables, access, states, syncRuns, datastores, encryptionKeys, options, secrets, settings, memories }: ApiParts): Endpoint[] {
  const plans = new SyncPlans({ datastores, remotes: tables.remotes, secrets, settings, jobs: tables.syncJobs, memories, runs: syncRuns, log: options.log });
  return [
    ...syncConfigEndpoints({ jobs: tables.syncJobs, access, states, keys: encryptionKeys, backfill: new BackfillJobs(settings), bandwidth: new JobBandwidth(settings), memories }),
    ...encryptionKeyEndpoints({ keys: encryptionKeys, access, jobs: tables.syncJobs, clock: options.clock }),
    ...syncAdminEndpoints({ jobs: tables.syncJobs, access, states, runSyncJob: (id, authId) => syncRuns.runJob(id, authId), claimAdopted: (id, named) => syncRuns.claimAdopted(id, named), planSyncJob: (id, wanted) => plans.plan(id, wanted) }),
    ...pullEndpoints({ access, datastores, pull: (parameters, authId) => syncRuns.pull(parameters, authId) }),
    ...pushEndpoints({ access, datastores, push: (parameters, authId) => syncRuns.push(parameters, authId) }),
  ];
}

function generalEndpoints({ options, instanceId, datastores, access, history }: ApiParts): Endpoint[] {
  return [...versionEndpoints(options), ...farshoreEndpoints({ instanceId, programVersion: options.programVersion }), ...datastoreUsageEndpoints({ datastores, access, clock: options.clock, history })];
}

function accessEndpoints(parts: ApiParts): Endpoint[] {
  const { files, access, accounts, changer, login, authLog } = parts;
  return [
    ...ticketEndpoints({ login, authLog }),
    ...userEndpoints({ accounts, changer, access }),
    ...userTokenEndpoints({ accounts, changer }),
    ...aclEndpoints({ acl: files.acl, access, accounts, log: parts.options.log }),
    ...roleEndpoints(),
    ...permissionEndpoints({ acl: files.acl, access }),
    ...domainEndpoints({ domains: files.domains }),
    ...realmConfigEndpoints({ domains: files.domains }),
    ...webauthnEndpoints({ tfa: files.tfa }),
    ...passwordEndpoints({ accounts, changer, login, access }),
    ...tfaEndpoints({ tfa: files.tfa, factors: parts.factors, accounts, access, login, clock: parts.options.clock }),
  ];
}

function nodeEndpoints(parts: ApiParts): Endpoint[] {
  const { options, tasks, access } = parts;
  return [
    ...taskEndpoints({ tasks, access }),
    ...nodeStatusEndpoints({ fingerprint: () => parts.certificates.current.fingerprint }),
    ...certificateEndpoints({ certificates: parts.certificates }),
    ...timeEndpoints({ clock: options.clock }),
    ...nodeConfigEndpoints({ node: parts.files.node }),
    ...dnsEndpoints(),
    ...nodeRrdEndpoints({ clock: options.clock, history: parts.history }),
    ...reportEndpoints({ programVersion: options.programVersion, datastores: parts.datastores }),
    ...nodeListEndpoints(),
    ...identityEndpoints({ instanceId: parts.instanceId }),
    ...subscriptionEndpoints({ instanceId: parts.instanceId }),
    ...aptEndpoints({ programVersion: options.programVersion }),
  ];
}
