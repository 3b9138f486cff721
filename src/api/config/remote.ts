import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import type { SyncJobTable } from '../../config/job-config.ts';
import { remoteSchema, withoutSecret, type RemoteRecord } from '../../config/remote-config.ts';
import { configDigest, deletable, givenPassword, remoteName, wholeNumber } from '../../config/schemas.ts';
import { changedRecord } from '../../config/section-table.ts';
import { ParameterError } from '../../protocol/parameters.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import type { RemoteParts } from '../remote-connection.ts';
import { trimmedComment } from './job-section.ts';

export interface RemoteConfigParts extends RemoteParts {
  access: AccessControl;
  /** To find out who still needs a remote. */
  jobs: SyncJobTable;
}

const { password: _stored, ...shown } = remoteSchema.properties;
const view = Type.Object(shown);

const given = {
  'auth-id': shown['auth-id'],
  comment: shown.comment,
  fingerprint: shown.fingerprint,
  host: shown.host,
  password: givenPassword,
  // Port 0 cannot be connected to.
  port: Type.Optional(wholeNumber('Port, when it is not 8007.', { minimum: 1, maximum: 65_535 })),
  'use-node-proxy': shown['use-node-proxy'],
};

/** `/config/remote` (spec sync 1.2). The password goes in, sealed, and never comes out. */
export function remoteConfigEndpoints(parts: RemoteConfigParts): Endpoint[] {
  return [...readEndpoints(parts), ...writeEndpoints(parts)];
}

function readEndpoints({ remotes, access }: RemoteConfigParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/remote',
      description: 'List remotes.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      returns: Type.Array(view),
      handler: async (_, caller) => {
        const { records, digest } = remotes.list();
        const visible = records.filter((remote) => access.check(caller.authId, `/remote/${remote.name}`, ['Remote.Audit']));
        return new Reply(visible.map(withoutSecret), { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/remote/{name}',
      description: 'Read a remote.',
      parameters: Type.Object({ name: remoteName }),
      permission: { kind: 'privilege', path: '/remote/{name}', privileges: ['Remote.Audit'] },
      returns: view,
      handler: async ({ name }) => new Reply(withoutSecret(remotes.get(name)), { digest: remotes.digest() }),
    }),
  ];
}

function writeEndpoints({ remotes, secrets, jobs }: RemoteConfigParts): Endpoint[] {
  const refuseWhileUsed = (name: string): void => {
    const job = jobs.list().records.find((one) => one.remote === name);
    if (job !== undefined) throw new ParameterError([['name', `remote '${name}' is used by sync job '${job.id}' (datastore '${job.store}')`]]);
  };
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/config/remote',
      description: 'Create a remote.',
      parameters: Type.Object({ name: remoteName, ...given }),
      permission: { kind: 'privilege', path: '/remote', privileges: ['Remote.Modify'] },
      handler: async ({ password, ...fields }) => {
        const record: RemoteRecord = trimmedComment({ ...fields, password: await secrets.seal(fields.name, password) });
        await remotes.file.update((config) => {
          if (config.has(record.name)) throw new ParameterError([['name', `remote '${record.name}' already exists.`]]);
          config.set(remotes.type, record);
        });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/config/remote/{name}',
      description: 'Change a remote.',
      parameters: Type.Object({
        name: remoteName,
        ...Type.Partial(Type.Object(given)).properties,
        delete: Type.Optional(deletable(['comment', 'fingerprint', 'port', 'use-node-proxy'])),
        digest: Type.Optional(configDigest),
      }),
      permission: { kind: 'privilege', path: '/remote/{name}', privileges: ['Remote.Modify'] },
      handler: async ({ name, delete: names, digest, password, ...fields }) => {
        remotes.get(name);
        const sealed = password === undefined ? undefined : await secrets.seal(name, password);
        await remotes.update(name, (remote) => changedRecord(remote, { delete: names, set: { ...fields, password: sealed } }), { digest });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/config/remote/{name}',
      description: 'Remove a remote.',
      parameters: Type.Object({ name: remoteName, digest: Type.Optional(configDigest) }),
      permission: { kind: 'privilege', path: '/remote/{name}', privileges: ['Remote.Modify'] },
      handler: async ({ name, digest }) => {
        refuseWhileUsed(name);
        await remotes.file.update(
          (config) => {
            if (!config.remove(remotes.type, name)) throw new HttpError(404, `remote '${name}' does not exist.`);
            // Again under the lock.
            refuseWhileUsed(name);
          },
          { digest },
        );
        return null;
      },
    }),
  ];
}
