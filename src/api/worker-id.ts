import { groupText, type BackupSnapshot } from '../format/backup-path.ts';

/** A snapshot in worker ids, its time in hexadecimal: `host/demo/68E8C980` (spec server 6). */
export function snapshotWorkerId(snapshot: BackupSnapshot): string {
  return `${groupText(snapshot)}/${snapshot.time.toString(16).toUpperCase().padStart(8, '0')}`;
}
