import type { AccessControl } from '../access/access-control.ts';
import type { AccountChanger, Accounts } from '../access/accounts.ts';
import type { Login } from '../access/login.ts';
import { aclEndpoints } from '../api/access/acl.ts';
import { domainEndpoints } from '../api/access/domains.ts';
import { passwordEndpoints } from '../api/access/password.ts';
import { permissionEndpoints } from '../api/access/permissions.ts';
import { roleEndpoints } from '../api/access/roles.ts';
import { tfaEndpoints } from '../api/access/tfa.ts';
import { ticketEndpoints } from '../api/access/ticket.ts';
import { userTokenEndpoints } from '../api/access/user-tokens.ts';
import { userEndpoints } from '../api/access/users.ts';
import type { AuthLog } from '../api/auth-log.ts';
import type { Datastores } from '../api/datastores.ts';
import type { Endpoint } from '../api/endpoint.ts';
import { aptEndpoints } from '../api/nodes/apt.ts';
import { certificateEndpoints } from '../api/nodes/certificates.ts';
import { identityEndpoints } from '../api/nodes/identity.ts';
import { nodeStatusEndpoints } from '../api/nodes/status.ts';
import { subscriptionEndpoints } from '../api/nodes/subscription.ts';
import { taskEndpoints } from '../api/nodes/tasks.ts';
import { timeEndpoints } from '../api/nodes/time.ts';
import { readerEndpoints } from '../api/reader.ts';
import { datastoreUsageEndpoints } from '../api/status/datastore-usage.ts';
import type { SyncRuns } from '../api/sync-runs.ts';
import { versionEndpoints } from '../api/version.ts';
import type { Clock } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import type { AclFile } from '../config/acl-config.ts';
import type { DatastoreTable } from '../config/datastore-config.ts';
import type { SectionFile } from '../config/files.ts';
import type { PruneJobTable, SyncJobTable, VerifyJobTable } from '../config/job-config.ts';
import type { RemoteTable } from '../config/remote-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import type { TfaFile } from '../config/tfa-config.ts';
import type { Journals } from '../replication/journals.ts';
import type { JobGround } from '../schedule/job-run.ts';
import type { JobStates } from '../schedule/job-states.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { WorkerTasks } from '../schedule/worker-tasks.ts';
import type { ServerCertificate } from './certificate.ts';

/** What the endpoint groups are made of; each takes only what it names. */
export interface ApiParts {
  options: { programVersion: string; log: ProgressLog; clock: Clock };
  files: { acl: AclFile; domains: SectionFile; tfa: TfaFile };
  tables: { datastores: DatastoreTable; remotes: RemoteTable; syncJobs: SyncJobTable; pruneJobs: PruneJobTable; verifyJobs: VerifyJobTable };
  access: AccessControl;
  accounts: Accounts;
  changer: AccountChanger;
  login: Login;
  secrets: RemoteSecrets;
  tasks: WorkerTasks;
  states: JobStates;
  ground: JobGround;
  datastores: Datastores;
  journals: Journals;
  syncRuns: SyncRuns;
  certificate: () => ServerCertificate;
  certificates: () => readonly object[];
  instanceId: string;
  authLog: AuthLog;
}

/** Every endpoint of the API, and the jobs that they configure, for the scheduler. */
export function apiEndpoints(parts: ApiParts): { endpoints: Endpoint[]; jobSources: JobSource[] } {
  return {
    endpoints: [...generalEndpoints(parts), ...accessEndpoints(parts), ...nodeEndpoints(parts), ...readerEndpoints(parts)],
    jobSources: [],
  };
}

function generalEndpoints({ options, datastores, access }: ApiParts): Endpoint[] {
  return [...versionEndpoints(options), ...datastoreUsageEndpoints({ datastores, access, clock: options.clock })];
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
    ...passwordEndpoints({ accounts, changer, login, access }),
    ...tfaEndpoints({ tfa: files.tfa, access }),
  ];
}

function nodeEndpoints(parts: ApiParts): Endpoint[] {
  const { options, tasks, access } = parts;
  return [
    ...taskEndpoints({ tasks, access }),
    ...nodeStatusEndpoints({ fingerprint: () => parts.certificate().fingerprint }),
    ...certificateEndpoints({ certificates: parts.certificates }),
    ...timeEndpoints({ clock: options.clock }),
    ...identityEndpoints({ instanceId: parts.instanceId }),
    ...subscriptionEndpoints(),
    ...aptEndpoints({ programVersion: options.programVersion }),
  ];
}
