import { Type } from 'typebox';
import type { AccessControl } from '../access/access-control.ts';
import { HttpError } from '../base/errors.ts';
import { syncJobSchema } from '../config/job-config.ts';
import { encryptionKeyId } from '../config/schemas.ts';
import { checkSyncDepth } from './config/sync.ts';
import type { Datastores } from './datastores.ts';
import { jsonEndpoint, type Endpoint } from './endpoint.ts';
import { groupFilterList } from './group-filter-parameter.ts';
import { requirePull } from './sync-permissions.ts';
import type { PullParameters } from './sync-runs.ts';

export interface PullParts {
  access: AccessControl;
  datastores: Datastores;
  /** Starts the pull as a task of `authId`; the UPID. */
  pull: (parameters: PullParameters, authId: string) => Promise<string>;
}

const properties = syncJobSchema.properties;

const parameters = Type.Object({
  store: properties.store,
  'remote-store': properties['remote-store'],
  'burst-in': properties['burst-in'],
  'burst-out': properties['burst-out'],
  'decryption-keys': Type.Optional(Type.Array(encryptionKeyId, { maxItems: 1024, description: 'Keys that may decrypt what is pulled.' })),
  'encrypted-only': properties['encrypted-only'],
  'group-filter': Type.Optional(groupFilterList),
  'max-depth': properties['max-depth'],
  ns: properties.ns,
  'rate-in': properties['rate-in'],
  'rate-out': properties['rate-out'],
  remote: properties.remote,
  'remote-ns': properties['remote-ns'],
  'remove-vanished': properties['remove-vanished'],
  'resync-corrupt': properties['resync-corrupt'],
  'transfer-last': properties['transfer-last'],
  'verified-only': properties['verified-only'],
  'worker-threads': properties['worker-threads'],
});

/** `POST pull` (spec sync 2.4, 3): one pull with the caller's rights. What is wrong with its parameters is answered at once, not in the task. */
export function pullEndpoints({ access, datastores, pull }: PullParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/pull',
      description: 'Pull from a remote or from another datastore.',
      parameters,
      permission: { kind: 'any' },
      returns: Type.String(),
      handler: async ({ 'decryption-keys': keys, ...given }, caller) => {
        requirePull(access, caller.authId, given);
        if (given.remote === undefined && given.store === given['remote-store']) throw new HttpError(400, "can't sync to same datastore");
        checkSyncDepth(given);
        datastores.record(given.store);
        if (given.remote === undefined) datastores.record(given['remote-store']);
        return pull({ ...given, ...(keys === undefined ? {} : { 'associated-key': keys }) }, caller.authId);
      },
    }),
  ];
}
