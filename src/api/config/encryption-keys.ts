import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { HttpError } from '../../base/errors.ts';
import { encryptionKeySchema, type EncryptionKeys } from '../../config/encryption-keys.ts';
import type { SyncJobTable } from '../../config/job-config.ts';
import { configDigest, encryptionKeyId, flag } from '../../config/schemas.ts';
import { serializeKeyFile } from '../../crypto/key-file.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';

export interface EncryptionKeyParts {
  keys: EncryptionKeys;
  access: AccessControl;
  /** To find out who still needs a key. */
  jobs: SyncJobTable;
  clock: Clock;
}

const modifyOne = { kind: 'privilege', path: '/system/encryption-keys/{id}', privileges: ['Sys.Modify'] } as const;

/** `/config/encryption-keys` (spec sync 2.5). The key itself comes out once, when it is made. */
export function encryptionKeyEndpoints(parts: EncryptionKeyParts): Endpoint[] {
  return [listEndpoint(parts), createEndpoint(parts), ...changeEndpoints(parts)];
}

function listEndpoint({ keys, access }: EncryptionKeyParts): Endpoint {
  return jsonEndpoint({
    method: 'GET',
    path: '/config/encryption-keys',
    description: 'List the encryption keys that this server holds for sync jobs.',
    parameters: Type.Object({ 'include-archived': Type.Optional(flag('List archived keys, too.', { default: false })) }),
    permission: { kind: 'any' },
    returns: Type.Array(encryptionKeySchema),
    handler: async ({ 'include-archived': all }, caller) => {
      const { records, digest } = keys.list();
      const visible = records.filter(
        (key) => (all === true || key['archived-at'] === undefined) && access.check(caller.authId, `/system/encryption-keys/${key.id}`, ['Sys.Audit']),
      );
      return new Reply(visible, { digest });
    },
  });
}

function createEndpoint({ keys, clock }: EncryptionKeyParts): Endpoint {
  return jsonEndpoint({
    method: 'POST',
    path: '/config/encryption-keys',
    description: 'Make an encryption key, or take one that is given. The answer is the only time that the key itself is shown.',
    parameters: Type.Object({ id: encryptionKeyId, key: Type.Optional(Type.String({ maxLength: 65_536, description: 'Key file without password; a random key when absent.' })) }),
    permission: { kind: 'privilege', path: '/system/encryption-keys', privileges: ['Sys.Modify'] },
    handler: async ({ id, key }) => JSON.parse(serializeKeyFile(await keys.create(id, key, nowSeconds(clock)))) as unknown,
  });
}

function changeEndpoints({ keys, jobs, clock }: EncryptionKeyParts): Endpoint[] {
  const parameters = Type.Object({ id: encryptionKeyId, digest: Type.Optional(configDigest) });
  const refuseWhile = (used: 'active' | 'named', id: string): void => {
    const job = jobs.list().records.find((one) => one['active-encryption-key'] === id || (used === 'named' && one['associated-key']?.includes(id) === true));
    if (job !== undefined) throw new HttpError(400, `encryption key in use by sync job: '${job.id}'`);
  };
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/config/encryption-keys/{id}',
      description: 'Archive a key, so that it only decrypts, or make it usable again.',
      parameters,
      permission: modifyOne,
      handler: async ({ id, digest }) => {
        await keys.toggleArchived(id, nowSeconds(clock), { digest, refuse: () => refuseWhile('active', id) });
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/config/encryption-keys/{id}',
      description: 'Remove an archived key that no job names, for good.',
      parameters,
      permission: modifyOne,
      handler: async ({ id, digest }) => {
        await keys.remove(id, { digest, refuse: () => refuseWhile('named', id) });
        return null;
      },
    }),
  ];
}
