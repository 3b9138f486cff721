import { Type } from 'typebox';
import { namespaceAclPath, requireNamespaceAccess } from '../../../access/datastore-access.ts';
import { HttpError, errorCode } from '../../../base/errors.ts';
import type { Privilege } from '../../../config/privileges.ts';
import { flag, namespace, safeId, wholeNumber } from '../../../config/schemas.ts';
import { createNamespace, listNamespaces, namespaceExists } from '../../../datastore/namespaces.ts';
import { removeNamespace } from '../../../datastore/removal.ts';
import { joinNamespace, maxNamespaceDepth, parentNamespace } from '../../../format/backup-path.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, inNamespace, storeParameters, type ContentParts } from './content.ts';
import { protectedLeftText, removalReply } from './groups.ts';

/** Any of these makes a namespace visible. */
const seeing: readonly Privilege[] = ['Datastore.Modify', 'Datastore.Read', 'Datastore.Backup', 'Datastore.Audit'];

/** List, create and remove namespaces (spec rest-api 10.2, retention 4). */
export function namespaceEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/namespace`,
      description: 'List the namespaces of a datastore.',
      parameters: parameterObject({
        ...storeParameters,
        'max-depth': Type.Optional(wholeNumber('How many levels of namespaces should be operated on (0 == no recursion)', { minimum: 0, maximum: maxNamespaceDepth, default: maxNamespaceDepth })),
        parent: Type.Optional(namespace),
      }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const anchor = p.parent ?? '';
        const { access } = parts;
        const visible = (ns: string): boolean => access.check(authId, namespaceAclPath(p.store, ns), seeing, { partial: true });
        if (!visible(anchor) && !access.anyPrivilegeBelow(authId, namespaceAclPath(p.store, anchor), seeing)) requireNamespaceAccess(access, authId, p.store, anchor, { full: seeing });
        return parts.datastores.use(p.store, 'read', async (store) => {
          // The reference lists a parent that is not there as the only entry, and peers take that for an answer.
          const all = (await namespaceExists(store, anchor)) ? await listNamespaces(store, { anchor, maxDepth: p['max-depth'] }) : [anchor];
          const found = all.filter((ns) => visible(ns)).map((ns) => ({ ns }));
          if (found.length === 0) requireNamespaceAccess(access, authId, p.store, anchor, { full: seeing });
          return found;
        });
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/namespace`,
      description: 'Create a new datastore namespace.',
      parameters: parameterObject({ ...storeParameters, name: safeId('The name of the new namespace to add at the parent.', 1, 32), parent: Type.Optional(namespace) }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inNamespace(parts, caller, { store: p.store, ns: p.parent }, { full: ['Datastore.Modify'] }, 'write', async ({ store, namespace: parent }) => {
          const created = joinNamespace(parent, p.name);
          try {
            await createNamespace(store, created);
          } catch (e) {
            if (errorCode(e) !== 'store.namespace-missing') throw e;
            throw new HttpError(400, `cannot create new namespace, parent ${parent} doesn't already exists`, { cause: e });
          }
          return created;
        }),
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${contentPath}/namespace`,
      description: 'Delete a backup namespace including all snapshots.',
      parameters: parameterObject({
        ...storeParameters,
        'delete-groups': Type.Optional(flag('If set, all groups will be destroyed in the whole hierarchy below and including `ns`. If not set, only empty namespaces will be pruned.', { default: false })),
        'error-on-protected': Type.Optional(flag('Return error when namespace cannot be deleted because of protected snapshots', { default: true })),
        ns: namespace,
      }),
      permission: { kind: 'any' },
      handler: (p, caller) => {
        const parent = parentNamespace(p.ns);
        if (parent === null) throw new HttpError(400, 'Cannot create/delete root namespace!');
        return inNamespace(parts, caller, { store: p.store, ns: parent }, { full: ['Datastore.Modify'] }, 'write', async ({ store }) => {
          const removed = await removeNamespace(store, p.ns, { deleteGroups: p['delete-groups'] ?? false });
          if (p['error-on-protected'] !== false) {
            if (removed.protectedSnapshots > 0) throw new HttpError(400, protectedLeftText);
            if (!removed.complete) throw new HttpError(400, 'only partially deleted due to existing groups but `delete-groups` not true');
          }
          return removalReply(removed);
        });
      },
    }),
  ];
}
