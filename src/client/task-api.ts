import type { TaskApi } from '../terminal/task-follow.ts';
import type { ServerConnection } from './server-connection.ts';

/** Path of a task's API folder. */
export function taskPath(upid: string): string {
  return `nodes/localhost/tasks/${encodeURIComponent(upid)}`;
}

/** What following a task needs, on a connection. */
export function taskApi(connection: ServerConnection): TaskApi {
  return {
    call: async (method, path, { upid, ...parameters }) => {
      const target = path.replace(/^\//, '').replace('{upid}', encodeURIComponent(String(upid)));
      return method === 'DELETE' ? connection.delete(target, parameters) : connection.get(target, parameters);
    },
  };
}
