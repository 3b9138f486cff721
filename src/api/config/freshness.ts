import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath, requireNamespaceAccess } from '../../access/datastore-access.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { ConfigError, HttpError } from '../../base/errors.ts';
import { parseTimeSpan } from '../../base/time-span.ts';
import { contractId, freshnessContractSchema, type FreshnessContract, type FreshnessTable } from '../../config/freshness-config.ts';
import type { SyncJobTable } from '../../config/job-config.ts';
import { missingSection } from '../../config/missing-section.ts';
import { configDigest, datastoreName, deletable } from '../../config/schemas.ts';
import { changedRecord } from '../../config/section-table.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';

export interface FreshnessConfigParts {
  contracts: FreshnessTable;
  jobs: Pick<SyncJobTable, 'find'>;
  access: AccessControl;
  clock: Clock;
}

const maxContracts = 1024;
const shortestAge = 60;
const longestAge = 10 * 366 * 86_400;
const freshnessDeletable = ['job', 'ns', 'max-depth', 'backup-type', 'backup-id', 'verified', 'every-group', 'heartbeat', 'disable', 'comment'] as const;

const { id: _id, store: _store, since: _since, 'max-age': maxAge, ...optional } = freshnessContractSchema.properties;

/** Whether a caller may know of a contract. */
export function seesContract(access: AccessControl, authId: string, contract: FreshnessContract): boolean {
  return access.check(authId, namespaceAclPath(contract.store, contract.ns ?? ''), ['Datastore.Audit']);
}

/** `/config/freshness`: contracts on the age of copies. Additive; the reference has nothing like it. */
export function freshnessConfigEndpoints(parts: FreshnessConfigParts): Endpoint[] {
  return [...readEndpoints(parts), createEndpoint(parts), updateEndpoint(parts), removeEndpoint(parts)];
}

function readEndpoints({ contracts, access }: FreshnessConfigParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/freshness',
      description: 'List the freshness contracts of datastores that may be audited.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      returns: Type.Array(freshnessContractSchema),
      handler: async (_, { authId }) => {
        const { records, digest } = contracts.list();
        return new Reply(records.filter((one) => seesContract(access, authId, one)).map((one) => shown(access, authId, one)), { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/freshness/{id}',
      description: 'Read a freshness contract.',
      parameters: Type.Object({ id: contractId }),
      permission: { kind: 'any' },
      returns: freshnessContractSchema,
      handler: async ({ id }, { authId }) => {
        const { digest } = contracts.list();
        return new Reply(shown(access, authId, visible(contracts, access, authId, id)), { digest });
      },
    }),
  ];
}

function createEndpoint({ contracts, jobs, access, clock }: FreshnessConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'POST',
    path: '/config/freshness',
    description: 'Make a freshness contract on a datastore, a namespace, a group or a sync job.',
    parameters: Type.Object({ id: contractId, store: Type.Optional(datastoreName), 'max-age': maxAge, ...optional }),
    permission: { kind: 'any' },
    handler: async ({ store, ...given }, { authId }) => {
      const place = given.job === undefined ? null : scopeByJob(jobs, access, authId, given.job);
      const of = store ?? place?.store;
      if (of === undefined) throw new HttpError(400, 'store: parameter is missing and it is not optional unless a job is named.');
      const ns = given.ns ?? (place === null || place.store !== of ? undefined : place.ns);
      const contract: FreshnessContract = { ...changedRecord({}, { set: given }), id: given.id, 'max-age': given['max-age'], store: of, since: nowSeconds(clock), ...(ns === undefined ? {} : { ns }) };
      check({ access, jobs }, authId, contract);
      if (contract.heartbeat !== undefined) requireHeartbeat(access, authId);
      if (contracts.list().records.length >= maxContracts) throw new HttpError(400, `there are ${maxContracts} freshness contracts already`);
      await contracts.create(contract);
      return null;
    },
  });
}

function updateEndpoint({ contracts, jobs, access, clock }: FreshnessConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'PUT',
    path: '/config/freshness/{id}',
    description: 'Change a freshness contract. Even without a change it starts anew: groups that were removed on purpose are forgotten.',
    parameters: Type.Object({
      id: contractId,
      store: Type.Optional(datastoreName),
      'max-age': Type.Optional(maxAge),
      ...optional,
      delete: Type.Optional(deletable(freshnessDeletable)),
      digest: Type.Optional(configDigest),
    }),
    permission: { kind: 'any' },
    handler: async ({ id, delete: names, digest, ...set }, { authId }) => {
      visible(contracts, access, authId, id);
      await contracts.update(
        id,
        (before) => {
          requireModify(access, authId, before);
          const after = { ...changedRecord(before, { delete: names, set }), since: nowSeconds(clock) };
          check({ access, jobs }, authId, after);
          if (after.heartbeat !== before.heartbeat) requireHeartbeat(access, authId);
          return after;
        },
        { digest },
      );
      return null;
    },
  });
}

function removeEndpoint({ contracts, access }: FreshnessConfigParts): Endpoint {
  return jsonEndpoint({
    method: 'DELETE',
    path: '/config/freshness/{id}',
    description: 'Remove a freshness contract.',
    parameters: Type.Object({ id: contractId, digest: Type.Optional(configDigest) }),
    permission: { kind: 'any' },
    handler: async ({ id, digest }, { authId }) => {
      requireModify(access, authId, visible(contracts, access, authId, id));
      await contracts.remove(id, { digest });
      return null;
    },
  });
}

/** As missing to who may not audit its datastore. */
function visible(contracts: FreshnessTable, access: AccessControl, authId: string, id: string): FreshnessContract {
  const contract = contracts.find(id);
  if (contract === undefined || !seesContract(access, authId, contract)) throw missingSection('freshness', id);
  return contract;
}

/** The address of a heartbeat is as good as a password: only who may set one sees more than its host. */
function shown(access: AccessControl, authId: string, contract: FreshnessContract): FreshnessContract {
  if (contract.heartbeat === undefined || access.check(authId, '/system', ['Sys.Modify'])) return contract;
  const { protocol, host } = new URL(contract.heartbeat);
  return { ...contract, heartbeat: `${protocol}//${host}/` };
}

function requireModify(access: AccessControl, authId: string, contract: FreshnessContract): void {
  requireNamespaceAccess(access, authId, contract.store, contract.ns ?? '', { full: ['Datastore.Modify'] });
}

/** The server asks the address from where it stands: like targets of notifications that is for administrators. */
function requireHeartbeat(access: AccessControl, authId: string): void {
  if (!access.check(authId, '/system', ['Sys.Modify'])) throw new HttpError(403, 'permission check failed - missing Sys.Modify on /system for a heartbeat');
}

/** Store and namespace of a job. HttpError 400 when there is none, or the caller has no business with it. */
function scopeByJob(jobs: Pick<SyncJobTable, 'find'>, access: AccessControl, authId: string, id: string): { store: string; ns: string | undefined } {
  const job = jobs.find(id);
  if (job === undefined || !access.check(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Audit'])) throw new HttpError(400, `no such sync job '${id}'`);
  return { store: job.store, ns: job.ns };
}

function check({ access, jobs }: Pick<FreshnessConfigParts, 'access' | 'jobs'>, authId: string, contract: FreshnessContract): void {
  requireModify(access, authId, contract);
  const seconds = parseTimeSpan(contract['max-age']);
  if (seconds < shortestAge || seconds > longestAge) throw new HttpError(400, `max-age: '${contract['max-age']}' is not between a minute and ten years`);
  if (contract.heartbeat !== undefined && !URL.canParse(contract.heartbeat)) throw new ConfigError('config.freshness', `heartbeat: not a URL`);
  const { job, 'backup-type': type, 'backup-id': id } = contract;
  if (id !== undefined && type === undefined) throw new HttpError(400, 'backup-id: needs a backup-type');
  if (job === undefined) return;
  if (type !== undefined || contract['max-depth'] !== undefined) throw new HttpError(400, 'job: a contract on a job takes its groups and depth from the job');
  const place = jobs.find(job);
  // The job may be gone by now: that is what the contract is for. One that exists must be of this datastore.
  if (place !== undefined && place.store !== contract.store) throw new HttpError(400, `job: sync job '${job}' is not of datastore '${contract.store}'`);
}
