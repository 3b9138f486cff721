import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import { datastoreName, flag, wholeNumber } from '../../config/schemas.ts';
import { parseUpid, type Upid } from '../../format/upid.ts';
import { TaskLogReader } from '../../schedule/task-log-reader.ts';
import { queryTasks, taskListItem, taskStatusReply, type TaskQuery } from '../../schedule/task-query.ts';
import type { WorkerTasks } from '../../schedule/worker-tasks.ts';
import { jsonEndpoint, rawEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';
import { maySeeTask, requireTaskAccess, requireTaskStop } from './task-access.ts';
import { sendLogFile, sendLogPage } from './task-log.ts';

export interface TaskEndpointParts {
  tasks: WorkerTasks;
  access: AccessControl;
}

const { Optional } = Type;

const upidText = Type.String({
  minLength: 36,
  maxLength: 255,
  pattern: '^UPID:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8,16}:[0-9A-Fa-f]{8}:[^:\\s]+:[^:\\s]*:[^:\\s]+:$',
  description: 'Unique Process/Task Identifier',
});
const filterText = (description: string): ReturnType<typeof Type.String> => Type.String({ maxLength: 256, description });
const key = { ...nodeParameter, upid: upidText };

const listParameters = Type.Object({
  ...nodeParameter,
  start: Optional(wholeNumber('List tasks beginning from this offset.', { minimum: 0, default: 0 })),
  limit: Optional(wholeNumber('Only list this number of tasks (0 = all).', { minimum: 0, default: 50 })),
  store: Optional(datastoreName),
  running: Optional(flag('Only list running tasks.', { default: false })),
  errors: Optional(flag('Leave out tasks that ended well.', { default: false })),
  userfilter: Optional(filterText('Only list tasks of these users: part of the ID.')),
  since: Optional(wholeNumber('Only list tasks since this time (seconds since the epoch).')),
  until: Optional(wholeNumber('Only list tasks until this time (seconds since the epoch).')),
  typefilter: Optional(filterText('Only list tasks of these types: part of the type.')),
  statusfilter: Optional(Type.Array(Type.Enum(['ok', 'warning', 'error', 'unknown']), { description: 'Only list finished tasks of these states.' })),
});

const logParameters = Type.Object({
  ...key,
  start: Optional(wholeNumber('First line.', { minimum: 0, default: 0 })),
  limit: Optional(wholeNumber('Number of lines (0 = all).', { minimum: 0, default: 50 })),
  'test-status': Optional(flag('Tell whether the task is active.')),
  download: Optional(flag('Send the whole log as a file; excludes all other parameters.', { default: false })),
});

/** Worker tasks (spec rest-api 10.4, server 2 to 6). */
export function taskEndpoints({ tasks, access }: TaskEndpointParts): Endpoint[] {
  const reader = new TaskLogReader();
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/tasks',
      description: 'List tasks.',
      parameters: listParameters,
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        const query: TaskQuery = { ...given, visible: (upid) => maySeeTask(access, caller.authId, upid) };
        const { tasks: found, total } = await queryTasks(tasks.registry.tasks(), query);
        return new Reply(found.map(taskListItem), { total });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/tasks/{upid}/status',
      description: 'Get task status.',
      parameters: Type.Object(key),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        const upid = visibleTask(access, caller.authId, given.upid);
        return taskStatusReply(given.upid, upid, await tasks.result(given.upid));
      },
    }),
    rawEndpoint({
      method: 'GET',
      path: '/nodes/{node}/tasks/{upid}/log',
      description: 'Read the task log.',
      parameters: logParameters,
      permission: { kind: 'any' },
      handler: async (given, caller, _request, response) => {
        const upid = visibleTask(access, caller.authId, given.upid);
        const path = tasks.logPath(given.upid);
        if (given.download === true) {
          if ([given.start, given.limit, given['test-status']].some((one) => one !== undefined)) throw new HttpError(400, "Parameter 'download' cannot be used with other parameters");
          await sendLogFile(response, path, upid);
          return;
        }
        // Asked before the log is read: a task that ends in between is asked for once more, and no line of it is missed.
        const active = (await tasks.result(given.upid)) === null;
        const query = { start: given.start ?? 0, limit: given.limit ?? 50, complete: !active };
        await sendLogPage(response, reader, path, query, given['test-status'] === true ? active : undefined);
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/nodes/{node}/tasks/{upid}',
      description: 'Try to stop a task.',
      parameters: Type.Object(key),
      permission: { kind: 'any' },
      handler: async (given, caller) => {
        requireTaskStop(access, caller.authId, parseUpid(given.upid));
        if (tasks.abort(given.upid)) return;
        // Of no task, or one that has ended, nothing is to be stopped; but nobody is left to believe that one of another process will.
        if ((await tasks.result(given.upid)) === null) throw new HttpError(400, 'the task runs in another process and cannot be stopped from here', { hint: 'stop it where it was started (Ctrl-C)' });
      },
    }),
  ];
}

function visibleTask(access: AccessControl, caller: string, text: string): Upid {
  const upid = parseUpid(text);
  requireTaskAccess(access, caller, upid);
  return upid;
}
