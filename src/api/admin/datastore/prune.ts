import { Type } from 'typebox';
import { groupOwnerCheck, namespaceAclPath, requireNamespaceAccess } from '../../../access/datastore-access.ts';
import { HttpError } from '../../../base/errors.ts';
import { flag, keepOptions, wholeNumber } from '../../../config/schemas.ts';
import { groupExists, readOwner } from '../../../datastore/groups.ts';
import { maxNamespaceDepth } from '../../../format/backup-path.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { keepOptionsOf, type PruneRuns } from '../../prune-runs.ts';
import { contentPath, groupOf, groupParameters, namespaceParameters, type ContentParts } from './content.ts';

const dryRun = Type.Optional(flag('Just show what prune would do, but do not delete anything.', { default: false }));

/** `POST prune` of a group and `POST prune-datastore` (spec retention 3.1, 3.2). */
export function pruneEndpoints(parts: ContentParts & { prunes: PruneRuns }): Endpoint[] {
  const { datastores, access, prunes } = parts;
  return [
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/prune`,
      description: 'Prune a group on the datastore',
      parameters: parameterObject({ ...groupParameters, ...keepOptions, 'dry-run': dryRun, 'use-task': Type.Optional(flag('Spins up an asynchronous task that does the work.', { default: false })) }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const namespace = p.ns ?? '';
        const group = groupOf(p);
        const granted = requireNamespaceAccess(access, authId, p.store, namespace, { full: ['Datastore.Modify'], own: ['Datastore.Prune'] });
        await datastores.use(p.store, 'write', async (store) => {
          if (!(await groupExists(store, namespace, group))) throw new HttpError(400, 'ENOENT: No such file or directory');
          if (granted === 'own') groupOwnerCheck(granted, authId, await readOwner(store, namespace, group));
        });
        const keep = keepOptionsOf(p);
        if (p['dry-run'] === true) return prunes.preview(p.store, namespace, group, keep);
        const { task, decisions } = await prunes.group(p.store, namespace, group, keep, authId);
        if (p['use-task'] === true) return task.upid;
        const result = await task.finished;
        if (result.state === 'Error') throw new HttpError(400, result.message);
        return decisions();
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/prune-datastore`,
      description: 'Prune the datastore',
      parameters: parameterObject({
        ...namespaceParameters,
        ...keepOptions,
        'dry-run': dryRun,
        'max-depth': Type.Optional(wholeNumber('How many levels of namespaces to go down (0 = none, absent = all).', { minimum: 0, maximum: maxNamespaceDepth })),
      }),
      permission: { kind: 'any' },
      handler: (p, { authId }) => {
        const namespace = p.ns ?? '';
        access.require(authId, namespaceAclPath(p.store, namespace), ['Datastore.Modify', 'Datastore.Prune'], { partial: true });
        return prunes.namespaces({ store: p.store, namespace, maxDepth: p['max-depth'], keep: keepOptionsOf(p), dryRun: p['dry-run'] }, authId);
      },
    }),
  ];
}
