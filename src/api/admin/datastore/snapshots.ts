import { existsSync } from 'node:fs';
import { Type } from 'typebox';
import { FarshoreError, HttpError, errorCode } from '../../../base/errors.ts';
import { backupId, backupType } from '../../../config/schemas.ts';
import { removeSnapshot } from '../../../datastore/removal.ts';
import { listSnapshotInfos, snapshotFiles } from '../../../datastore/snapshot-info.ts';
import { isOwner } from '../../../format/auth-id.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, inGroup, inNamespace, manifestNotFound, namespaceParameters, snapshotOf, snapshotParameters, type ContentParts } from './content.ts';

/** List and remove snapshots, list their files (spec rest-api 10.2, retention 4). */
export function snapshotEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/snapshots`,
      description: 'List backup snapshots.',
      parameters: parameterObject({ ...namespaceParameters, 'backup-id': Type.Optional(backupId), 'backup-type': Type.Optional(backupType) }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inNamespace(parts, caller, p, { full: ['Datastore.Audit'], own: ['Datastore.Backup'] }, 'read', async ({ store, namespace, granted }) => {
          const filter = { type: p['backup-type'], id: p['backup-id'], ...(granted === 'full' ? {} : { owned: (owner: string) => isOwner(owner, caller.authId) }) };
          try {
            return await listSnapshotInfos(store, namespace, filter);
          } catch (e) {
            // Asked for one group, a namespace that is not there is only a group that is not there (observed).
            if (filter.type !== undefined && filter.id !== undefined && errorCode(e) === 'store.namespace-missing') return [];
            throw e;
          }
        }),
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${contentPath}/snapshots`,
      description: 'Delete backup snapshot.',
      parameters: parameterObject(snapshotParameters),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, { full: ['Datastore.Modify'], own: ['Datastore.Prune'] }, 'write', async (store, namespace) => {
          try {
            await removeSnapshot(store, namespace, snapshotOf(p));
          } catch (e) {
            if (!(e instanceof FarshoreError)) throw e;
            throw new HttpError(400, `failed to delete snapshot - ${e.message}`, { cause: e, ...(e.hint === undefined ? {} : { hint: e.hint }) });
          }
          return null;
        }),
    }),
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/files`,
      description: 'List snapshot files.',
      parameters: parameterObject(snapshotParameters),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, { full: ['Datastore.Audit', 'Datastore.Read'], own: ['Datastore.Backup'] }, 'read', async (store, namespace) => {
          const snapshot = snapshotOf(p);
          try {
            return await snapshotFiles(store, namespace, snapshot);
          } catch (e) {
            if (!existsSync(store.snapshotPath(namespace, snapshot))) throw new HttpError(400, 'ENOENT: No such file or directory', { cause: e });
            throw manifestNotFound(e, snapshot);
          }
        }),
    }),
  ];
}
