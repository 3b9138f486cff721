import { Type } from 'typebox';
import { HttpError } from '../../../base/errors.ts';
import { flag } from '../../../config/schemas.ts';
import { removeGroup, type RemovalStatistics } from '../../../datastore/removal.ts';
import { listGroupInfos } from '../../../datastore/snapshot-info.ts';
import { isOwner } from '../../../format/auth-id.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, groupOf, groupParameters, inGroup, inNamespace, namespaceParameters, type ContentParts } from './content.ts';

/** What a removal answers. */
export function removalReply(statistics: RemovalStatistics): Record<string, number> {
  return {
    'protected-snapshots': statistics.protectedSnapshots,
    'removed-groups': statistics.removedGroups,
    'removed-snapshots': statistics.removedSnapshots,
  };
}

export const protectedLeftText = 'group only partially deleted due to protected snapshots';

/** List and remove groups (spec rest-api 10.2, retention 4). */
export function groupEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/groups`,
      description: 'List backup groups.',
      parameters: parameterObject(namespaceParameters),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inNamespace(parts, caller, p, { full: ['Datastore.Audit'], own: ['Datastore.Backup'] }, 'read', ({ store, namespace, granted }) =>
          listGroupInfos(store, namespace, granted === 'full' ? {} : { owned: (owner) => isOwner(owner, caller.authId) }),
        ),
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${contentPath}/groups`,
      description: 'Delete backup group including all snapshots.',
      parameters: parameterObject({ ...groupParameters, 'error-on-protected': Type.Optional(flag('Return error when group cannot be deleted because of protected snapshots', { default: true })) }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inGroup(parts, caller, p, { full: ['Datastore.Modify'], own: ['Datastore.Prune'] }, 'write', async (store, namespace) => {
          const statistics = await removeGroup(store, namespace, groupOf(p));
          if (statistics.protectedSnapshots > 0 && p['error-on-protected'] !== false) throw new HttpError(400, protectedLeftText);
          return removalReply(statistics);
        }),
    }),
  ];
}
