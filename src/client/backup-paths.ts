import { ConfigError } from '../base/errors.ts';
import { parseGroup, parseSnapshot, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';

/** Group from `type/id`; ConfigError `config.backup-path` with the reference's text. */
export function parseGroupPath(text: string): BackupGroup {
  try {
    return parseGroup(text);
  } catch {
    throw new ConfigError('config.backup-path', `unable to parse backup group path '${text}'`, { hint: 'a group is type/id with type vm, ct or host, e.g. vm/100' });
  }
}

/** Snapshot from `type/id/time`; ConfigError `config.backup-path` with the reference's text. */
export function parseSnapshotPath(text: string): BackupSnapshot {
  try {
    return parseSnapshot(text);
  } catch {
    throw new ConfigError('config.backup-path', `unable to parse backup snapshot path '${text}'`, { hint: 'a snapshot is type/id/time, e.g. vm/100/2025-10-09T09:00:00Z; `snapshot list` shows them' });
  }
}

/** What `restore` takes: a snapshot, or a group, which means its newest one. */
export function parseSnapshotOrGroupPath(text: string): { snapshot: BackupSnapshot } | { group: BackupGroup } {
  return text.split('/').length === 2 && /^(?:vm|ct|host)\//.test(text) ? { group: parseGroupPath(text) } : { snapshot: parseSnapshotPath(text) };
}
