import { Type } from 'typebox';
import { groupOwnerCheck, requireNamespaceAccess } from '../../../access/datastore-access.ts';
import { HttpError } from '../../../base/errors.ts';
import { flag, namespace, wholeNumber } from '../../../config/schemas.ts';
import type { Datastore } from '../../../datastore/datastore.ts';
import { moveGroup } from '../../../datastore/group-move.ts';
import { groupExists, readOwner } from '../../../datastore/groups.ts';
import { moveNamespace } from '../../../datastore/namespace-move.ts';
import { namespaceExists } from '../../../datastore/namespaces.ts';
import { groupText, maxNamespaceDepth, parentNamespace, type BackupGroup } from '../../../format/backup-path.ts';
import type { TaskStarter } from '../../../schedule/worker-task.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { startInDatastore } from '../../leased-task.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, groupOf, groupParameters, storeParameters, type ContentParts } from './content.ts';

export interface MoveParts extends ContentParts {
  tasks: TaskStarter;
}

/** `POST move-group`, `POST move-namespace`: tasks that move backups within a datastore (spec formats 4.8, retention 10). */
export function moveEndpoints(parts: MoveParts): Endpoint[] {
  const { access, datastores, tasks } = parts;
  return [
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/move-group`,
      description: 'Move a backup group to a different namespace within the same datastore.',
      parameters: parameterObject({
        ...groupParameters,
        'merge-group': Type.Optional(flag('If the group already exists in the target namespace, merge snapshots into it.', { default: true })),
        'target-ns': Type.Optional(namespace),
      }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const [from, target, group] = [p.ns ?? '', p['target-ns'] ?? '', groupOf(p)];
        const granted = requireNamespaceAccess(access, authId, p.store, from, { full: ['Datastore.Modify'], own: ['Datastore.Prune'] });
        requireNamespaceAccess(access, authId, p.store, target, { full: ['Datastore.Modify'], own: ['Datastore.Backup'] });
        const merge = p['merge-group'] ?? true;
        const task = await startInDatastore(datastores, p.store, 'write', async ({ store }) => {
          await checkGroupMove(store, { from, target, group, merge });
          const owner = granted === 'full' ? null : await readOwner(store, from, group);
          if (owner !== null) groupOwnerCheck(granted, authId, owner);
          return tasks.start({ workerType: 'move-group', workerId: `${p.store}:${from}/${groupText(group)}:${target}`, authId }, async ({ log }) =>
            moveGroup(store, { namespace: from, group, target, merge, expectedOwner: owner }, log),
          );
        });
        return task.upid;
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/move-namespace`,
      description: 'Move a backup namespace (including all child namespaces and groups) to a new location.',
      parameters: parameterObject({
        ...storeParameters,
        'delete-source': Type.Optional(flag('Remove the source namespace after moving all contents.', { default: true })),
        'max-depth': Type.Optional(wholeNumber('How many levels of namespaces should be operated on (0 == no recursion)', { minimum: 0, maximum: maxNamespaceDepth, default: maxNamespaceDepth })),
        'merge-groups': Type.Optional(flag('If a group with the same name already exists in the target namespace, merge snapshots into it.', { default: true })),
        ns: namespace,
        'target-ns': namespace,
      }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const { ns, 'target-ns': target } = p;
        for (const name of [ns, target]) {
          const parent = parentNamespace(name);
          if (parent === null) throw new HttpError(400, name === ns ? 'cannot move root namespace' : 'Cannot create/delete root namespace!');
          requireNamespaceAccess(access, authId, p.store, parent, { full: ['Datastore.Modify'] });
        }
        const task = await startInDatastore(datastores, p.store, 'write', async ({ store }) => {
          await checkNamespaceMove(store, ns, target);
          const move = { namespace: ns, target, maxDepth: p['max-depth'], mergeGroups: p['merge-groups'] ?? true, deleteSource: p['delete-source'] ?? true };
          return tasks.start({ workerType: 'move-namespace', workerId: `${p.store}:${ns}:${target}`, authId }, async ({ log, signal }) => moveNamespace(store, move, log, signal));
        });
        return task.upid;
      },
    }),
  ];
}

async function checkGroupMove(store: Datastore, { from, target, group, merge }: { from: string; target: string; group: BackupGroup; merge: boolean }): Promise<void> {
  if (from === target) throw new HttpError(400, 'source and target namespace must be different');
  if (!(await namespaceExists(store, target))) throw new HttpError(400, `target namespace '${target}' does not exist`);
  const text = groupText(group);
  if (!(await groupExists(store, from, group))) throw new HttpError(400, `group '${text}' does not exist in namespace '${from}'`);
  if (!merge && (await groupExists(store, target, group))) throw new HttpError(400, `group '${text}' already exists in target namespace '${target}' and merge-group is disabled`);
}

async function checkNamespaceMove(store: Datastore, ns: string, target: string): Promise<void> {
  if (ns === target) throw new HttpError(400, 'source and target namespace must be different');
  if (target.startsWith(`${ns}/`)) throw new HttpError(400, `cannot move namespace '${ns}' into its own subtree (target: '${target}')`);
  if (!(await namespaceExists(store, ns))) throw new HttpError(400, `source namespace '${ns}' does not exist`);
  const parent = parentNamespace(target)!;
  if (!(await namespaceExists(store, parent))) throw new HttpError(400, `target parent namespace '${parent}' does not exist`);
}
