import { flag, wholeNumber } from '../../config/schemas.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import { statusCell, timeCell } from '../../terminal/renderers.ts';
import { followTask, presentTask } from '../../terminal/task-follow.ts';
import type { ClientCommand } from '../client-context.ts';
import { withConnection } from '../connect.ts';
import { repositoryAuthId } from '../repository.ts';
import { taskApi, taskPath } from '../task-api.ts';
import { repositoryOptions, upid } from './options.ts';

const defaultTaskCount = 50;

const taskList: ClientCommand = {
  words: ['task', 'list'],
  description: 'List the tasks of the repository\'s user that run, or all of them.',
  parameters: parameters(
    {},
    {
      ...repositoryOptions,
      ...outputFormatOption,
      all: flag('Also list stopped tasks.'),
      limit: wholeNumber('The maximal number of tasks to list.', { minimum: 1, maximum: 1000, default: defaultTaskCount }),
    },
  ),
  positional: [],
  run: async (context, given) => {
    const { data } = await withConnection(context, given, async (connection) => {
      const { repository } = connection;
      return connection.get('nodes/localhost/tasks', {
        running: given['all'] !== true,
        start: 0,
        limit: (given['limit'] as number | undefined) ?? defaultTaskCount,
        userfilter: repositoryAuthId(repository),
        store: repository.datastore,
      });
    });
    const time = timeCell(context.output.timeZone);
    const columns = [{ name: 'starttime', render: time }, { name: 'endtime', render: time }, { name: 'upid' }, { name: 'status', render: statusCell }];
    show({ kind: 'list', columns }, data, given['output-format'], context);
  },
};

const taskLog: ClientCommand = {
  words: ['task', 'log'],
  description: 'Print the log of a task, and follow it while it runs.',
  parameters: parameters({ upid }, repositoryOptions),
  positional: ['upid'],
  run: async (context, given) => {
    await withConnection(context, given, async (connection) => followTask({ ...context, api: taskApi(connection) }, given['upid'] as string, { onInterrupt: 'leave' }));
  },
};

const taskStop: ClientCommand = {
  words: ['task', 'stop'],
  description: 'Ask a running task to stop.',
  parameters: parameters({ upid }, repositoryOptions),
  positional: ['upid'],
  run: async (context, given) => {
    await withConnection(context, given, async (connection) => connection.delete(taskPath(given['upid'] as string)));
  },
};

const collectGarbage: ClientCommand = {
  words: ['garbage-collect'],
  description: 'Start garbage collection of the datastore, and follow it.',
  parameters: parameters({}, { ...repositoryOptions, ...outputFormatOption }),
  positional: [],
  run: async (context, given) =>
    withConnection(context, given, async (connection) => presentTask({ ...context, api: taskApi(connection) }, await connection.postToDatastore('gc', {}), given)),
};

export const taskCommands: readonly ClientCommand[] = [collectGarbage, taskList, taskLog, taskStop];
