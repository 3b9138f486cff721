import type { Accounts } from '../../access/accounts.ts';
import type { Endpoint } from '../endpoint.ts';
import type { GarbageCollectionRuns } from '../garbage-collection-runs.ts';
import type { PruneRuns } from '../prune-runs.ts';
import type { VerifyRuns } from '../verify-runs.ts';
import { catalogEndpoints } from './datastore/catalog.ts';
import { changeOwnerEndpoints } from './datastore/change-owner.ts';
import type { ContentParts } from './datastore/content.ts';
import { downloadEndpoints } from './datastore/download.ts';
import { garbageCollectionEndpoints } from './datastore/gc.ts';
import { groupEndpoints } from './datastore/groups.ts';
import { moveEndpoints, type MoveParts } from './datastore/move.ts';
import { namespaceEndpoints } from './datastore/namespace.ts';
import { noteEndpoints } from './datastore/notes.ts';
import { pruneEndpoints } from './datastore/prune.ts';
import { pxarFileDownloadEndpoints } from './datastore/pxar-file-download.ts';
import { snapshotEndpoints } from './datastore/snapshots.ts';
import { datastoreStatusEndpoints } from './datastore/status.ts';
import { uploadBackupLogEndpoints } from './datastore/upload-backup-log.ts';
import { verifyEndpoints } from './datastore/verify.ts';

export interface DatastoreContentParts extends ContentParts, MoveParts {
  accounts: Accounts;
  prunes: PruneRuns;
  verifications: VerifyRuns;
  collections: GarbageCollectionRuns;
}

/** Everything below `/admin/datastore/{store}` (spec rest-api 10.2). */
export function datastoreContentEndpoints(parts: DatastoreContentParts): Endpoint[] {
  return [
    ...datastoreStatusEndpoints(parts),
    ...groupEndpoints(parts),
    ...snapshotEndpoints(parts),
    ...namespaceEndpoints(parts),
    ...moveEndpoints(parts),
    ...noteEndpoints(parts),
    ...changeOwnerEndpoints(parts),
    ...pruneEndpoints(parts),
    ...verifyEndpoints(parts),
    ...garbageCollectionEndpoints(parts),
    ...downloadEndpoints(parts),
    ...catalogEndpoints(parts),
    ...pxarFileDownloadEndpoints(parts),
    ...uploadBackupLogEndpoints(parts),
  ];
}
