import type { StartedTask } from '../schedule/worker-task.ts';
import type { DatastoreLease, Datastores, Operation } from './datastores.ts';

/**
 * Opens a datastore, then starts work in it: a datastore that cannot be opened is an answer, not a failed task (spec retention 3.3). It is in use
 * until the task has ended. HttpError as `Datastores.open`, and what `start` throws.
 */
export async function startInDatastore(datastores: Datastores, name: string, operation: Operation, start: (lease: DatastoreLease) => Promise<StartedTask>): Promise<StartedTask> {
  const lease = await datastores.open(name, operation);
  let task: StartedTask;
  try {
    task = await start(lease);
  } catch (e) {
    lease[Symbol.dispose]();
    throw e;
  }
  void task.finished.then(() => lease[Symbol.dispose]());
  return task;
}
