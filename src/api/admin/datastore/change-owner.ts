import type { Accounts } from '../../../access/accounts.ts';
import { HttpError } from '../../../base/errors.ts';
import { authId as authIdSchema } from '../../../config/schemas.ts';
import { changeOwner, groupExists, readOwner } from '../../../datastore/groups.ts';
import { tokenNameOf, userOf } from '../../../format/auth-id.ts';
import { groupText } from '../../../format/backup-path.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, groupOf, groupParameters, inNamespace, type ContentParts } from './content.ts';

/** `POST change-owner` (spec rest-api 10.2, retention 10). */
export function changeOwnerEndpoints(parts: ContentParts & { accounts: Accounts }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/change-owner`,
      description: 'Change owner of a backup group',
      parameters: parameterObject({ ...groupParameters, 'new-owner': authIdSchema }),
      permission: { kind: 'any' },
      handler: (p, caller) =>
        inNamespace(parts, caller, p, { full: ['Datastore.Modify'], own: ['Datastore.Backup'] }, 'write', async ({ store, namespace, granted }) => {
          const group = groupOf(p);
          const newOwner = p['new-owner'];
          if (!(await groupExists(store, namespace, group))) {
            throw new HttpError(400, `unable to read "${store.groupPath(namespace, group)}/owner" - No such file or directory (os error 2)`);
          }
          // Whoever may modify everything may also mend an owner that cannot be read.
          const owner = granted === 'full' ? await readOwner(store, namespace, group).catch(() => null) : await readOwner(store, namespace, group);
          if (granted === 'own' && !staysWithUser(caller.authId, owner, newOwner)) {
            throw new HttpError(401, `${caller.authId} does not have permission to change owner of backup group '${groupText(group)}' to ${newOwner}`);
          }
          if (parts.accounts.inactiveReason(newOwner) !== null) {
            throw new HttpError(400, `${tokenNameOf(newOwner) === null ? 'user' : 'API token'} '${newOwner}' is inactive or non-existent`);
          }
          await changeOwner(store, namespace, group, owner, newOwner);
          return null;
        }),
    }),
  ];
}

/** A user, not a token, hands his own groups to his tokens, takes them back, or moves them among his tokens. */
function staysWithUser(caller: string, owner: string | null, newOwner: string): boolean {
  return tokenNameOf(caller) === null && owner !== null && userOf(owner) === caller && userOf(newOwner) === caller;
}
