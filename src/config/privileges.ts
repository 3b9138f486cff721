/** Privileges and roles, all fixed (spec rest-api 7.1, 7.2). */

/** In the canonical order of lists and error texts. */
export const privileges = [
  'Sys.Audit', 'Sys.Modify', 'Sys.PowerManagement',
  'Datastore.Audit', 'Datastore.Allocate', 'Datastore.Modify', 'Datastore.Read', 'Datastore.Verify', 'Datastore.Backup', 'Datastore.Prune',
  'Permissions.Modify',
  'Remote.Audit', 'Remote.Modify', 'Remote.Read', 'Remote.DatastoreBackup', 'Remote.DatastoreModify', 'Remote.DatastorePrune',
  'Sys.Console',
  'Tape.Audit', 'Tape.Modify', 'Tape.Write', 'Tape.Read',
  'Realm.Allocate',
] as const;

export type Privilege = (typeof privileges)[number];

const known = new Set<string>(privileges);

export function isPrivilege(name: string): name is Privilege {
  return known.has(name);
}

export interface Role {
  readonly name: string;
  readonly comment: string;
  readonly privileges: readonly Privilege[];
}

export const roles: readonly Role[] = [
  { name: 'Admin', comment: 'Administrator', privileges },
  { name: 'Audit', comment: 'Auditor', privileges: ['Sys.Audit', 'Datastore.Audit'] },
  { name: 'NoAccess', comment: 'Disable Access', privileges: [] },
  {
    name: 'DatastoreAdmin',
    comment: 'Datastore Administrator',
    privileges: ['Datastore.Audit', 'Datastore.Modify', 'Datastore.Read', 'Datastore.Verify', 'Datastore.Backup', 'Datastore.Prune'],
  },
  { name: 'DatastoreReader', comment: 'Datastore Reader (inspect datastore content and do restores)', privileges: ['Datastore.Audit', 'Datastore.Read', 'Datastore.Verify'] },
  { name: 'DatastoreBackup', comment: 'Datastore Backup (backup and restore owned backups)', privileges: ['Datastore.Backup'] },
  { name: 'DatastorePowerUser', comment: 'Datastore PowerUser (backup, restore and prune owned backup)', privileges: ['Datastore.Backup', 'Datastore.Prune'] },
  { name: 'DatastoreAudit', comment: 'Datastore Auditor', privileges: ['Datastore.Audit'] },
  { name: 'RemoteAudit', comment: 'Remote Auditor', privileges: ['Remote.Audit'] },
  { name: 'RemoteAdmin', comment: 'Remote Administrator', privileges: ['Remote.Audit', 'Remote.Modify', 'Remote.Read'] },
  { name: 'RemoteSyncOperator', comment: 'Synchronization Operator', privileges: ['Remote.Audit', 'Remote.Read'] },
  { name: 'RemoteSyncPushOperator', comment: 'Synchronisation Operator (push direction)', privileges: ['Remote.Audit', 'Remote.DatastoreBackup'] },
  { name: 'RemoteDatastorePowerUser', comment: 'Remote Datastore Prune', privileges: ['Remote.Audit', 'Remote.DatastoreBackup', 'Remote.DatastorePrune'] },
  {
    name: 'RemoteDatastoreAdmin',
    comment: 'Remote Datastore Admin',
    privileges: ['Remote.Audit', 'Remote.DatastoreBackup', 'Remote.DatastoreModify', 'Remote.DatastorePrune'],
  },
  { name: 'TapeAudit', comment: 'Tape Auditor', privileges: ['Tape.Audit'] },
  { name: 'TapeAdmin', comment: 'Tape Administrator', privileges: ['Tape.Audit', 'Tape.Modify', 'Tape.Write', 'Tape.Read'] },
  { name: 'TapeOperator', comment: 'Tape Operator', privileges: ['Tape.Audit', 'Tape.Write', 'Tape.Read'] },
  { name: 'TapeReader', comment: 'Tape Reader', privileges: ['Tape.Audit', 'Tape.Read'] },
];

const byName = new Map(roles.map((role) => [role.name, role]));

export function isRole(name: string): boolean {
  return byName.has(name);
}

export function findRole(name: string): Role | undefined {
  return byName.get(name);
}
