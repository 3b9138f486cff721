import { HttpError } from '../../../base/errors.ts';
import { maxClientLogSize, storeClientLog } from '../../../datastore/client-log.ts';
import { readParameterBody } from '../../../protocol/request-body.ts';
import { replyOf, sendReply } from '../../answer.ts';
import { rawEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, inGroup, snapshotOf, snapshotParameters, type ContentParts } from './content.ts';

/** `POST upload-backup-log` (spec backup-protocol 9): only who made the backup may add its log. */
export function uploadBackupLogEndpoints(parts: ContentParts): Endpoint[] {
  return [
    rawEndpoint({
      method: 'POST',
      path: `${contentPath}/upload-backup-log`,
      description: "Upload the client backup log file into a backup snapshot ('client.log.blob').",
      parameters: parameterObject(snapshotParameters),
      permission: { kind: 'any' },
      body: 'stream',
      handler: async (p, caller, request, response) => {
        if (Number(request.headers['content-length'] ?? 0) > maxClientLogSize) throw new HttpError(400, `client log has more than ${maxClientLogSize} bytes`);
        await inGroup(parts, caller, p, { full: [], own: ['Datastore.Backup'] }, 'write', async (store, namespace) => {
          await storeClientLog(store, namespace, snapshotOf(p), await readParameterBody(request, maxClientLogSize + 1));
        });
        sendReply(response, 'json', replyOf(null));
      },
    }),
  ];
}
