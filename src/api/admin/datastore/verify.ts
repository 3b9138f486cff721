import { Type } from 'typebox';
import { groupOwnerCheck, requireNamespaceAccess } from '../../../access/datastore-access.ts';
import { HttpError } from '../../../base/errors.ts';
import { backupId, backupTime, backupType, flag, threads, wholeNumber } from '../../../config/schemas.ts';
import { readOwner } from '../../../datastore/groups.ts';
import { maxNamespaceDepth, type BackupType } from '../../../format/backup-path.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import type { VerifyRuns, VerifyTarget } from '../../verify-runs.ts';
import { contentPath, namespaceParameters, type ContentParts } from './content.ts';

const parameters = parameterObject({
  ...namespaceParameters,
  'backup-id': Type.Optional(backupId),
  'backup-time': Type.Optional(backupTime),
  'backup-type': Type.Optional(backupType),
  'ignore-verified': Type.Optional(flag('Leave out snapshots that were verified and are not outdated.', { default: true })),
  'max-depth': Type.Optional(wholeNumber('How many levels of namespaces to go down (0 = none).', { minimum: 0, maximum: maxNamespaceDepth, default: maxNamespaceDepth })),
  'outdated-after': Type.Optional(wholeNumber('Days after which a verification is outdated.', { minimum: 0 })),
  'read-threads': Type.Optional(threads('Threads that read chunks.', 1)),
  'verify-threads': Type.Optional(threads('Threads that check chunks.', 4)),
});

interface Chosen {
  ns?: string | undefined;
  'backup-type'?: BackupType | undefined;
  'backup-id'?: string | undefined;
  'backup-time'?: number | undefined;
  'max-depth'?: number | undefined;
}

/** Namespace, group or snapshot, by which parameters are there (spec retention 6.1). */
function targetOf(p: Chosen): VerifyTarget {
  const namespace = p.ns ?? '';
  const { 'backup-type': type, 'backup-id': id, 'backup-time': time } = p;
  if (type !== undefined && id !== undefined) return time === undefined ? { kind: 'group', namespace, group: { type, id } } : { kind: 'snapshot', namespace, snapshot: { type, id, time } };
  if (type === undefined && id === undefined && time === undefined) return { kind: 'namespaces', namespace, maxDepth: p['max-depth'] };
  throw new HttpError(400, 'parameters do not specify a backup group or snapshot');
}

/** `POST verify` (spec retention 6.1). */
export function verifyEndpoints(parts: ContentParts & { verifications: VerifyRuns }): Endpoint[] {
  const { datastores, access, verifications } = parts;
  return [
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/verify`,
      description: 'Verify backups.',
      parameters,
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const granted = requireNamespaceAccess(access, authId, p.store, p.ns ?? '', { full: ['Datastore.Verify'], own: ['Datastore.Backup'] });
        const target = targetOf(p);
        if (granted === 'own' && target.kind !== 'namespaces') {
          const group = target.kind === 'group' ? target.group : target.snapshot;
          groupOwnerCheck(granted, authId, await datastores.use(p.store, 'read', (store) => readOwner(store, target.namespace, group)));
        }
        const choices = { ignoreVerified: p['ignore-verified'], outdatedAfter: p['outdated-after'], readThreads: p['read-threads'], verifyThreads: p['verify-threads'] };
        return verifications.start(p.store, target, choices, authId);
      },
    }),
  ];
}
