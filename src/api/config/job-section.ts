import type { Static, TObject } from 'typebox';
import { changedRecord, type RecordChanges, type SectionTable } from '../../config/section-table.ts';
import type { JobKey, JobStates } from '../../schedule/job-states.ts';
import { scheduleChanges } from '../../schedule/job-state.ts';
import { ParameterError } from '../../protocol/parameters.ts';

/** Jobs of one kind: their section of a configuration file, and the state files that go with it (spec server 8). */
export interface JobSection<S extends TObject> {
  table: SectionTable<S>;
  states: JobStates;
  /** `syncjob`, `prunejob`, `verificationjob`. */
  jobType: string;
}

interface ScheduledRecord {
  id: string;
  schedule?: string;
}

function keyOf<S extends TObject>(section: JobSection<S>, id: string): JobKey {
  return { jobType: section.jobType, id };
}

/** Adds a job; its first scheduled run is the next event from now on. ParameterError when the id is taken. */
export async function createJob<S extends TObject>(section: JobSection<S>, record: Static<S> & ScheduledRecord): Promise<void> {
  const { table } = section;
  await table.file.update((config) => {
    if (config.has(record.id)) throw new ParameterError([['id', `job '${record.id}' already exists.`]]);
    config.set(table.type, record);
  });
  await section.states.create(keyOf(section, record.id));
}

export interface JobUpdate<T> {
  changes: RecordChanges<T>;
  digest: string | undefined;
  /** Store a comment as it is given (prune jobs). */
  keepComment?: boolean;
  /** Refuses by an exception; called under the file's lock with the job as it was and as it becomes. */
  check(before: T, after: T): void;
  /** What else becomes of the job by this change; before the check. */
  amend?: (before: T, after: T) => T;
}

/** Changes a job. A changed schedule counts from now on, so that nothing fires for the past. ConfigError `no such sync 'x'`. */
export async function updateJob<S extends TObject>(section: JobSection<S>, id: string, update: JobUpdate<Static<S> & ScheduledRecord>): Promise<void> {
  let renewed = false;
  await section.table.update(
    id,
    (record) => {
      const before = record as Static<S> & ScheduledRecord;
      const changed = changedRecord(before, update.changes, { keepComment: update.keepComment === true });
      const after = update.amend?.(before, changed) ?? changed;
      update.check(before, after);
      const schedule = update.changes.set?.schedule;
      renewed = scheduleChanges(before.schedule, { ...(schedule === undefined ? {} : { schedule }), remove: update.changes.delete ?? [] });
      return after;
    },
    { digest: update.digest },
  );
  if (renewed) await section.states.renew(keyOf(section, id));
}

export interface JobRemoval<T> {
  digest: string | undefined;
  /** Refuses by an exception; called under the file's lock. */
  check(record: T): void;
  /** Answer when the job is not there. */
  missing: Error;
}

/** Removes a job and its state. */
export async function removeJob<S extends TObject>(section: JobSection<S>, id: string, removal: JobRemoval<Static<S>>): Promise<void> {
  const { table } = section;
  await table.file.update(
    (config) => {
      const record = config.find(table.type, id);
      if (record === undefined) throw removal.missing;
      removal.check(record);
      config.remove(table.type, id);
    },
    { digest: removal.digest },
  );
  await section.states.remove(keyOf(section, id));
}

/** What a new record stores of its comment: trimmed, as the reference does. */
export function trimmedComment<T extends { comment?: string }>(record: T): T {
  return record.comment === undefined ? record : { ...record, comment: record.comment.trim() };
}
