import { Type } from 'typebox';
import { datastoreName, flag, remoteName, wholeNumber } from '../../config/schemas.ts';
import type { Command } from '../command.ts';
import { datastores, groupFilterTexts, namespaces, remoteNamespaces, remoteStores, remotes, taskIds } from '../completions.ts';
import { bytesCell, durationCell, statusCell, timeCell } from '../../terminal/renderers.ts';
import { followTask, presentTask } from '../../terminal/task-follow.ts';
import { maxDepthOption, namespaceOption, outputFormatOption, parameters, rateOptions, resyncCorrupt, syncSelection, verifyOptions } from './parameters.ts';
import { forApi, plainColumns, quietCall, showData } from './section.ts';

// --- one-off work ----------------------------------------------------------------

/** Posts the parameters and follows the task that the server starts. */
function startTask(path: string): Command['run'] {
  return async (context, given) => {
    const { data } = await context.api.call('POST', path, forApi(given));
    return presentTask(context, data, given);
  };
}

const transferOptions = { ...maxDepthOption(7), ...namespaceOption, ...rateOptions, ...syncSelection, ...outputFormatOption };
const transferCompletions = {
  store: datastores,
  remote: remotes,
  'remote-store': remoteStores,
  'remote-ns': remoteNamespaces,
  ns: namespaces,
  'group-filter': groupFilterTexts,
};

const pull: Command = {
  words: ['pull'],
  description: 'Pull backups from a remote datastore into a local one.',
  parameters: parameters({ remote: remoteName, 'remote-store': datastoreName, store: datastoreName }, { ...transferOptions, ...resyncCorrupt }),
  positional: ['remote', 'remote-store', 'store'],
  completions: transferCompletions,
  run: startTask('/pull'),
};

const push: Command = {
  words: ['push'],
  description: 'Push backups of a local datastore to a remote one.',
  parameters: parameters({ store: datastoreName, remote: remoteName, 'remote-store': datastoreName }, transferOptions),
  positional: ['store', 'remote', 'remote-store'],
  completions: transferCompletions,
  run: startTask('/push'),
};

const verify: Command = {
  words: ['verify'],
  description: 'Verify all backups of a datastore.',
  parameters: parameters({ store: datastoreName }, { ...verifyOptions, ...outputFormatOption }),
  positional: ['store'],
  completions: { store: datastores },
  run: startTask('/admin/datastore/{store}/verify'),
};

export const transferCommands: readonly Command[] = [pull, push, verify];

// --- garbage collection ------------------------------------------------------------

const gcStart: Command = {
  words: ['garbage-collection', 'start'],
  description: 'Start garbage collection of a datastore.',
  parameters: parameters({ store: datastoreName }, { 'dry-run': flag('Say what would be removed, and remove nothing.', { default: false }), ...outputFormatOption }),
  positional: ['store'],
  completions: { store: datastores },
  run: startTask('/admin/datastore/{store}/gc'),
};

const gcStatus: Command = {
  words: ['garbage-collection', 'status'],
  description: 'Show what garbage collection of a datastore found last.',
  parameters: parameters({ store: datastoreName }, outputFormatOption),
  positional: ['store'],
  completions: { store: datastores },
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/admin/datastore/{store}/gc', forApi(given));
    const fields = plainColumns(
      'store disk-bytes disk-chunks index-data-bytes index-file-count pending-bytes pending-chunks removed-bad removed-bytes removed-chunks still-bad cache-stats duration last-run-endtime last-run-state next-run schedule upid',
    );
    showData(context, { kind: 'object', fields }, data, given);
  },
};

const gcList: Command = {
  words: ['garbage-collection', 'list'],
  description: 'List the garbage collection of every datastore.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/admin/gc', forApi(given));
    const time = timeCell(context.output.timeZone);
    const columns = [
      { name: 'store' },
      { name: 'last-run-endtime', render: time },
      { name: 'duration', render: durationCell },
      { name: 'removed-bytes', render: bytesCell },
      { name: 'pending-bytes', render: bytesCell },
      { name: 'last-run-state' },
      { name: 'schedule' },
      { name: 'next-run', render: time },
    ];
    showData(context, { kind: 'list', columns }, data, given);
  },
};

export const garbageCollectionCommands: readonly Command[] = [gcStart, gcStatus, gcList];

// --- tasks -------------------------------------------------------------------------

const upid = Type.String({
  minLength: 36,
  pattern:
    '^UPID:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8,16}:[0-9A-Fa-f]{8}:[^:\\s]+:[^:\\s]*:[^:\\s]+:$',
  description: 'Unique Process/Task Identifier',
});

const defaultTaskCount = 50;

const taskList: Command = {
  words: ['task', 'list'],
  description: 'List running tasks, or all of them.',
  parameters: parameters(
    {},
    {
      all: flag('Also list stopped tasks.'),
      limit: wholeNumber('The maximal number of tasks to list.', { minimum: 1, maximum: 1000, default: defaultTaskCount }),
      ...outputFormatOption,
    },
  ),
  positional: [],
  run: async (context, given) => {
    const sent = { running: given['all'] !== true, start: 0, limit: given['limit'] ?? defaultTaskCount };
    const { data } = await context.api.call('GET', '/nodes/localhost/tasks', sent);
    const time = timeCell(context.output.timeZone);
    const columns = [{ name: 'starttime', render: time }, { name: 'endtime', render: time }, { name: 'upid' }, { name: 'status', render: statusCell }];
    showData(context, { kind: 'list', columns }, data, given);
  },
};

const taskLog: Command = {
  words: ['task', 'log'],
  description: 'Print the log of a task and follow it while it runs.',
  parameters: parameters({ upid }, { follow: flag('Go on until the task has ended (the default); with false, print what is there and leave.') }),
  positional: ['upid'],
  aliases: { f: 'follow' },
  completions: { upid: taskIds },
  run: async (context, given) => {
    await followTask(context, String(given['upid']), { onInterrupt: 'leave', wait: given['follow'] !== false });
  },
};

const taskStop: Command = {
  words: ['task', 'stop'],
  description: 'Ask a running task to stop.',
  parameters: parameters({ upid }),
  positional: ['upid'],
  completions: { upid: taskIds },
  run: quietCall('DELETE', '/nodes/localhost/tasks/{upid}'),
};

export const taskCommands: readonly Command[] = [taskList, taskLog, taskStop];
