import { Type } from 'typebox';
import type { AccessControl } from '../access/access-control.ts';
import { syncJobSchema } from '../config/job-config.ts';
import { encryptionKeyId, remoteName } from '../config/schemas.ts';
import { checkSyncDepth } from './config/sync.ts';
import type { Datastores } from './datastores.ts';
import { jsonEndpoint, type Endpoint } from './endpoint.ts';
import { groupFilterList } from './group-filter-parameter.ts';
import type { PushParameters } from './push-runs.ts';
import { requirePush } from './sync-permissions.ts';

export interface PushParts {
  access: AccessControl;
  datastores: Datastores;
  /** Asks the remote who it is, then starts the push as a task of `authId`; the UPID. */
  push: (parameters: PushParameters, authId: string) => Promise<string>;
}

const properties = syncJobSchema.properties;

const parameters = Type.Object({
  store: properties.store,
  remote: remoteName,
  'remote-store': properties['remote-store'],
  'burst-in': properties['burst-in'],
  'burst-out': properties['burst-out'],
  'encrypted-only': properties['encrypted-only'],
  'encryption-key': Type.Optional(encryptionKeyId),
  'group-filter': Type.Optional(groupFilterList),
  'max-depth': properties['max-depth'],
  ns: properties.ns,
  'rate-in': properties['rate-in'],
  'rate-out': properties['rate-out'],
  'remote-ns': properties['remote-ns'],
  'remove-vanished': properties['remove-vanished'],
  'transfer-last': properties['transfer-last'],
  'verified-only': properties['verified-only'],
  'worker-threads': properties['worker-threads'],
});

/** `POST push` (spec sync 2.4, 3): one push with the caller's rights. What is wrong with its parameters or its remote is answered at once, not in the task. */
export function pushEndpoints({ access, datastores, push }: PushParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/push',
      description: 'Push to a remote datastore.',
      parameters,
      permission: { kind: 'any' },
      returns: Type.String(),
      handler: async ({ 'encryption-key': key, ...given }, caller) => {
        requirePush(access, caller.authId, given);
        checkSyncDepth(given);
        datastores.record(given.store);
        return push({ ...given, ...(key === undefined ? {} : { 'active-encryption-key': key }) }, caller.authId);
      },
    }),
  ];
}
