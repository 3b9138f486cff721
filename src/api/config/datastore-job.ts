import { Type, type Static, type TObject, type TOptional } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { missingSection } from '../../config/missing-section.ts';
import type { Privilege } from '../../config/privileges.ts';
import { configDigest, deletable, jobId, type comment, type datastoreName, type namespace, type schedule } from '../../config/schemas.ts';
import type { SectionTable } from '../../config/section-table.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { createJob, removeJob, trimmedComment, updateJob, type JobSection } from './job-section.ts';

/** A kind of job on one namespace of one datastore: prune and verify jobs, which differ in little more than their properties. */
export interface DatastoreJobKind<S extends TObject> {
  /** `/config/prune` */
  path: string;
  /** `prune job` */
  noun: string;
  jobType: string;
  table: SectionTable<S>;
  deletable: readonly string[];
  /** Any of them shows the job in the list, on its namespace. */
  list: readonly Privilege[];
  /** Any of them shows it alone. */
  read: readonly Privilege[];
  /** For everything else. */
  change: Privilege;
  /** Stores comments as they are given. */
  keepComment: boolean;
}

export interface DatastoreJobParts {
  access: AccessControl;
  states: JobStates;
}

/** What all these jobs have. */
type DatastoreJobSchema = TObject<{
  id: typeof jobId;
  store: typeof datastoreName;
  ns: TOptional<typeof namespace>;
  schedule: TOptional<typeof schedule>;
  comment: TOptional<typeof comment>;
}>;
type DatastoreJob = Static<DatastoreJobSchema>;

function aclPath(job: DatastoreJob): string {
  return namespaceAclPath(job.store, job.ns ?? '');
}

/** List, read, create, change and remove the jobs of one kind (spec rest-api 10.3, 11.2). */
export function datastoreJobEndpoints<S extends TObject>(kind: DatastoreJobKind<S>, parts: DatastoreJobParts): Endpoint[] {
  const plain = kind as unknown as DatastoreJobKind<DatastoreJobSchema>;
  return [...readEndpoints(plain, parts), ...writeEndpoints(plain, parts)];
}

function readEndpoints({ path, noun, table, ...kind }: DatastoreJobKind<DatastoreJobSchema>, { access }: DatastoreJobParts): Endpoint[] {
  const { schema } = table.type;
  return [
    jsonEndpoint({
      method: 'GET',
      path,
      description: `List ${noun}s.`,
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      returns: Type.Array(schema),
      handler: async (_, caller) => {
        const { records, digest } = table.list();
        const visible = records.filter((job) => access.check(caller.authId, aclPath(job), kind.list, { partial: true }));
        return new Reply(visible, { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: `${path}/{id}`,
      description: `Read a ${noun}.`,
      parameters: Type.Object({ id: jobId }),
      permission: { kind: 'any' },
      returns: schema,
      handler: async ({ id }, caller) => {
        const job = table.get(id);
        access.require(caller.authId, aclPath(job), kind.read, { partial: true });
        return new Reply(job, { digest: table.digest() });
      },
    }),
  ];
}

function writeEndpoints({ path, noun, table, jobType, ...kind }: DatastoreJobKind<DatastoreJobSchema>, { access, states }: DatastoreJobParts): Endpoint[] {
  const section: JobSection<DatastoreJobSchema> = { table, states, jobType };
  const { schema, type } = table.type;
  const { id: _, ...changeable } = schema.properties;
  const requireChange = (authId: string, ...jobs: DatastoreJob[]): void => {
    for (const job of jobs) access.require(authId, aclPath(job), [kind.change]);
  };
  return [
    jsonEndpoint({
      method: 'POST',
      path,
      description: `Create a ${noun}.`,
      parameters: schema,
      permission: { kind: 'any' },
      handler: async (job, caller) => {
        requireChange(caller.authId, job);
        await createJob(section, kind.keepComment ? job : trimmedComment(job));
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: `${path}/{id}`,
      description: `Change a ${noun}.`,
      parameters: Type.Object({ id: jobId, ...Type.Partial(Type.Object(changeable)).properties, delete: Type.Optional(deletable([...kind.deletable])), digest: Type.Optional(configDigest) }),
      permission: { kind: 'any' },
      handler: async ({ id, delete: names = [], digest, ...given }, caller) => {
        const { ns, ...others } = given;
        // The empty namespace is the root, which is not stored.
        const changes = ns === '' ? { delete: [...names, 'ns'], set: others } : { delete: names, set: given };
        await updateJob(section, id, { changes, digest, keepComment: kind.keepComment, check: (before, after) => requireChange(caller.authId, before, after) });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${path}/{id}`,
      description: `Remove a ${noun}.`,
      parameters: Type.Object({ id: jobId, digest: Type.Optional(configDigest) }),
      permission: { kind: 'any' },
      handler: async ({ id, digest }, caller) => {
        await removeJob(section, id, { digest, check: (job) => requireChange(caller.authId, job), missing: missingSection(type, id) });
        return null;
      },
    }),
  ];
}
