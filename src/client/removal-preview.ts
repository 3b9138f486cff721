import { snapshotText } from '../format/backup-path.ts';
import { flag } from '../config/schemas.ts';
import type { ClientContext } from './client-context.ts';
import { inOrder, snapshotOf, type ListEntry } from './listings.ts';

/** Works with every server: it only lists. */
export const dryRunOption = { 'dry-run': flag('Say what would be removed, and remove nothing.') };

/** What a removal of these snapshots would do; protected ones stay. `place` goes before each. */
export function showRemovals(context: ClientContext, snapshots: readonly ListEntry[], place = ''): void {
  for (const entry of inOrder([...snapshots])) context.stdout.write(`${entry['protected'] === true ? 'would keep protected' : 'would remove'} ${place}${snapshotText(snapshotOf(entry))}\n`);
}
