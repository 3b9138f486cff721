import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AccessControl } from '../access/access-control.ts';
import { aclFile } from '../config/acl-config.ts';
import type { Privilege } from '../config/privileges.ts';
import { maySeeSyncJob, mayModifySyncJob, requirePull, type SyncScope } from './sync-permissions.ts';
import { resolveInstallation } from '../config/home.ts';

/** Privileges of the caller by exact path; of nobody else. */
type Granted = Readonly<Record<string, readonly Privilege[]>>;

/** Decides by a table instead of roles, of which none has a single one of some privileges. */
class TableAccess extends AccessControl {
  readonly #granted: Granted;

  constructor(granted: Granted) {
    super(aclFile(resolveInstallation({ env: { FARSHORE_HOME: '/nonexistent' }, isRoot: false, homeDirectory: '/nonexistent' })));
    this.#granted = granted;
  }

  override privileges(authId: string, path: string): ReturnType<AccessControl['privileges']> {
    const all = new Set(authId === 'op@pbs' || authId === 'root@pam' ? this.#granted[path] : []);
    return { all, propagated: all };
  }
}

const op = 'op@pbs';
const pull: SyncScope = { store: 'main', ns: 'a', remote: 'hq', 'remote-store': 'far', 'remote-ns': 'b', owner: op };
const push: SyncScope = { ...pull, 'sync-direction': 'push' };
const { remote: _remote, ...local } = pull;
const anchor = '/datastore/main/a';
const others = { owner: 'else@pbs' };

type Rule = (access: AccessControl, authId: string, job: SyncScope) => boolean;

const mayPull: Rule = (access, authId, job) => {
  try {
    requirePull(access, authId, job);
    return true;
  } catch {
    return false;
  }
};

/** What is enough, and no part of it can be left out (spec sync 2.4). */
const rows: Array<{ what: string; rule: Rule; job: SyncScope; needs: Granted }> = [
  { what: 'see a pull', rule: maySeeSyncJob, job: pull, needs: { [anchor]: ['Datastore.Audit'], '/remote/hq': ['Remote.Audit'] } },
  { what: 'see a local pull', rule: maySeeSyncJob, job: local, needs: { [anchor]: ['Datastore.Audit'], '/datastore/far': ['Datastore.Audit'] } },
  { what: 'see a push', rule: maySeeSyncJob, job: push, needs: { [anchor]: ['Datastore.Audit'], '/remote/hq/far/b': ['Remote.Audit'] } },
  { what: 'modify a pull of his own', rule: mayModifySyncJob, job: pull, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'modify a pull of his token', rule: mayModifySyncJob, job: { ...pull, owner: 'op@pbs!t' }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'modify a pull that removes', rule: mayModifySyncJob, job: { ...pull, 'remove-vanished': true }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Prune'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'modify a pull of somebody else', rule: mayModifySyncJob, job: { ...pull, ...others }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Modify'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'modify a pull of root', rule: mayModifySyncJob, job: without(pull, 'owner'), needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Modify'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'modify a local pull of his own', rule: mayModifySyncJob, job: local, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup'] } },
  { what: 'modify a local pull of root: more than in the reference', rule: mayModifySyncJob, job: without(local, 'owner'), needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Modify'], '/datastore/far/b': ['Datastore.Read'] } },
  { what: 'modify a push by Read', rule: mayModifySyncJob, job: { ...push, ...others }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Read'], '/remote/hq/far/b': ['Remote.DatastoreBackup'] } },
  { what: 'modify a push of his own by Backup', rule: mayModifySyncJob, job: push, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup'], '/remote/hq/far/b': ['Remote.DatastoreBackup'] } },
  { what: 'modify a push of somebody else by Backup', rule: mayModifySyncJob, job: { ...push, ...others }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Modify'], '/remote/hq/far/b': ['Remote.DatastoreBackup'] } },
  { what: 'modify a push that removes', rule: mayModifySyncJob, job: { ...push, 'remove-vanished': true }, needs: { [anchor]: ['Datastore.Audit', 'Datastore.Read'], '/remote/hq/far/b': ['Remote.DatastoreBackup', 'Remote.DatastorePrune'] } },
  { what: 'pull', rule: mayPull, job: pull, needs: { [anchor]: ['Datastore.Backup'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'pull and remove', rule: mayPull, job: { ...pull, 'remove-vanished': true }, needs: { [anchor]: ['Datastore.Backup', 'Datastore.Prune'], '/remote/hq/far': ['Remote.Read'] } },
  { what: 'pull locally', rule: mayPull, job: local, needs: { [anchor]: ['Datastore.Backup'], '/datastore/far': ['Datastore.Backup'] } },
];

function without(job: SyncScope, name: 'owner'): SyncScope {
  const { [name]: _, ...rest } = job;
  return rest;
}

for (const { what, rule, job, needs } of rows) {
  test(`may ${what}: exactly with the privileges of its row`, () => {
    assert.ok(rule(new TableAccess(needs), op, job), 'all of them');
    assert.equal(rule(new TableAccess(needs), 'else@pbs', job), false, 'somebody else');
    assert.equal(rule(new TableAccess(needs), 'op@pbs!t', job), false, 'a token without its own');
    for (const [path, privileges] of Object.entries(needs)) {
      for (const one of privileges) {
        const fewer = { ...needs, [path]: privileges.filter((other) => other !== one) };
        assert.equal(rule(new TableAccess(fewer), op, job), false, `without ${one} on ${path}`);
      }
      assert.equal(rule(new TableAccess({ ...needs, [path]: [], [`${path}/below`]: privileges }), op, job), false, `below ${path} instead`);
    }
  });
}

test('a push needs a remote; root needs to be nobody in particular', () => {
  const everything: Granted = { [anchor]: ['Datastore.Audit', 'Datastore.Read', 'Datastore.Backup', 'Datastore.Modify'], '/datastore/far': ['Datastore.Audit'] };
  const access = new TableAccess(everything);
  const noRemote: SyncScope = { ...local, 'sync-direction': 'push' };
  assert.equal(maySeeSyncJob(access, op, noRemote), false);
  assert.equal(mayModifySyncJob(access, op, noRemote), false);
  // A job without owner runs as root@pam, whose own it is.
  assert.ok(mayModifySyncJob(new TableAccess({ [anchor]: ['Datastore.Audit', 'Datastore.Backup'] }), 'root@pam', without(local, 'owner')));
});

test('an ad-hoc pull says what is missing', () => {
  const refusal = (granted: Granted, job: SyncScope, message: string): void => assert.throws(() => requirePull(new TableAccess(granted), op, job), { status: 400, message });
  refusal({}, pull, "missing permissions 'Datastore.Backup' on '/datastore/main/a'");
  refusal({ [anchor]: ['Datastore.Backup'] }, { ...pull, 'remove-vanished': true }, "missing permissions 'Datastore.Prune' on '/datastore/main/a'");
  refusal({ [anchor]: ['Datastore.Backup'] }, pull, "missing permissions 'Remote.Read' on '/remote/hq/far'");
  refusal({ [anchor]: ['Datastore.Backup'] }, local, "missing permissions 'Datastore.Backup' on '/datastore/far'");
});
