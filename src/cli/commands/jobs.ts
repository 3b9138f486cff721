import type { TSchema } from 'typebox';
import { adoptedFrom } from '../../api/admin/sync.ts';
import { bandwidthOption } from '../../api/config/sync.ts';
import { ConfigError, errorChain } from '../../base/errors.ts';
import { authId, datastoreName, flag, jobId, keepOptions, oneOf, remoteName } from '../../config/schemas.ts';
import type { Command, CommandContext } from '../command.ts';
import { authIds, calendarEvents, datastores, encryptionKeys, groupFilterTexts, namespaces, pruneJobs, remoteNamespaces, remoteStores, remotes, syncJobs, verifyJobs } from '../completions.ts';
import { filterCell } from '../../terminal/renderers.ts';
import { presentTask } from '../../terminal/task-follow.ts';
import {
  commentOption,
  described,
  jobKeys,
  maxDepthOption,
  namespaceOption,
  outputFormatOption,
  parameters,
  rateOptions,
  resyncCorrupt,
  scheduleOption,
  syncSelection,
  verifyOptions,
  workerThreads,
} from './parameters.ts';
import { planCommand, showPlan } from './sync-plan.ts';
import { createCommand, forApi, integerColumns, listCommand, plainColumns, removeCommand, showCommand, updateCommand } from './section.ts';
import type { Section } from './section.ts';

/** Starts a job at once: `/admin/{kind}/{id}/run`. */
function runCommand(section: Section, kind: string, options: Readonly<Record<string, TSchema>> = {}): Command {
  return {
    words: [section.word, 'run'],
    description: `Run a ${section.noun} now and follow it.`,
    parameters: parameters({ id: jobId }, { ...options, ...outputFormatOption }),
    positional: ['id'],
    completions: section.completions,
    run: async (context, given) => {
      const { data } = await context.api.call('POST', `/admin/${kind}/{id}/run`, forApi(given));
      return presentTask(context, data, given);
    },
  };
}

/** A sync job's run, or what it would do. */
function runSyncCommand(): Command {
  const command = runCommand(syncSection, 'sync', { 'adopted-from': adoptedFrom, 'dry-run': flag('Say what would be moved and removed, and change nothing; see `sync-job plan`.', { default: false }) });
  return {
    ...command,
    run: async (context, given) => {
      const { 'dry-run': isDry, 'adopted-from': named, ...rest } = given;
      if (isDry !== true) return command.run(context, { ...rest, ...(named === undefined ? {} : { 'adopted-from': named }) });
      if (named !== undefined) throw new ConfigError('config.dry-run', 'what a copy holds counts for a remote only once it has been said without --dry-run');
      return showPlan(context, rest);
    },
  };
}

// --- sync ----------------------------------------------------------------------

const syncSection: Section = {
  word: 'sync-job',
  key: 'id',
  keySchema: jobId,
  path: '/config/sync',
  noun: 'sync job',
  completions: {
    id: syncJobs,
    store: datastores,
    remote: remotes,
    'remote-store': remoteStores,
    'remote-ns': remoteNamespaces,
    ns: namespaces,
    'group-filter': groupFilterTexts,
    schedule: calendarEvents,
    owner: authIds,
    'active-encryption-key': encryptionKeys,
    'associated-key': encryptionKeys,
  },
};

const syncStores = { 'remote-store': datastoreName, store: datastoreName };

const syncOptions = {
  ...commentOption,
  ...jobKeys,
  ...maxDepthOption(),
  ...namespaceOption,
  owner: described(authId, 'Authentication ID'),
  ...rateOptions,
  remote: remoteName,
  ...resyncCorrupt,
  'run-on-mount': flag('Run this job when one of its datastores is mounted.'),
  ...scheduleOption('Run sync job at specified schedule.'),
  'sync-direction': oneOf(['pull', 'push'], 'Pull from the remote, or push to it.', { default: 'pull' }),
  ...syncSelection,
  'unmount-on-done': flag('Unmount the removable datastore afterwards.'),
  ...workerThreads,
};

const backfillOption = { backfill: flag('Fill gaps: also take older, deleted or corrupt snapshots that the prune jobs of the target would keep.') };

const syncDeletable =
  'remote owner comment schedule remove-vanished group-filter rate-in burst-in rate-out burst-out ns remote-ns max-depth transfer-last encrypted-only verified-only run-on-mount unmount-on-done sync-direction worker-threads active-encryption-key associated-key';

const createSyncJob = createCommand(syncSection, syncStores, { ...syncOptions, ...backfillOption, ...bandwidthOption });

/** The API takes names that do not exist (yet), and the job fails later; so say it now. */
async function createAndLook(context: CommandContext, given: Readonly<Record<string, unknown>>): Promise<void> {
  await createSyncJob.run(context, given);
  const look = async (word: string, path: string, key: string, wanted: unknown): Promise<void> => {
    const { data } = await context.api.call('GET', path);
    const known = Array.isArray(data) && data.some((one: Record<string, unknown>) => one[key] === wanted);
    if (!known && typeof wanted === 'string') context.stderr.write(`Warning: there is no ${word} '${wanted}' yet: the job will fail until there is. See what there is: ${context.program} ${word} list\n`);
  };
  try {
    await look('datastore', '/config/datastore', 'name', given['store']);
    if (given['remote'] === undefined) await look('datastore', '/config/datastore', 'name', given['remote-store']);
    else await look('remote', '/config/remote', 'name', given['remote']);
  } catch (e) {
    // The job is there: that the look after it failed does not make the command fail.
    context.stderr.write(`Warning: could not check whether the datastore and the remote of the job exist: ${errorChain(e)}\n`);
  }
}

export const syncJobCommands: readonly Command[] = [
  listCommand(
    syncSection,
    () => [...plainColumns('id sync-direction store remote remote-store schedule'), { name: 'group-filter', render: filterCell }, ...plainColumns('rate-in comment')],
    { 'sync-direction': oneOf(['all', 'push', 'pull'], 'Direction of the jobs to list.', { default: 'pull' }) },
  ),
  showCommand(
    syncSection,
    plainColumns(
      'id remote-store store active-encryption-key associated-key comment encrypted-only group-filter max-depth ns owner remote remote-ns remove-vanished resync-corrupt run-on-mount schedule sync-direction transfer-last unmount-on-done verified-only worker-threads burst-in burst-out rate-in rate-out backfill bandwidth',
    ),
  ),
  { ...createSyncJob, run: createAndLook },
  updateCommand(syncSection, { ...syncStores, ...syncOptions, ...backfillOption, ...bandwidthOption }, syncDeletable.split(' ')),
  removeCommand(syncSection),
  runSyncCommand(),
  planCommand(syncSection),
];

// --- prune ---------------------------------------------------------------------

const pruneSection: Section = {
  word: 'prune-job',
  key: 'id',
  keySchema: jobId,
  path: '/config/prune',
  noun: 'prune job',
  completions: { id: pruneJobs, store: datastores, ns: namespaces, schedule: calendarEvents },
};

const pruneRequired = { ...scheduleOption('Run prune job at specified schedule.'), store: datastoreName };

const pruneOptions = {
  ...commentOption,
  disable: flag('Disable this job.', { default: false }),
  ...keepOptions,
  ...maxDepthOption(),
  ...namespaceOption,
};

export const pruneJobCommands: readonly Command[] = [
  listCommand(pruneSection, () => [
    { name: 'id' },
    { name: 'disable', type: 'boolean' },
    ...plainColumns('store ns schedule'),
    ...integerColumns('max-depth keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly'),
  ]),
  showCommand(pruneSection, plainColumns('id schedule store comment disable max-depth ns keep-daily keep-hourly keep-last keep-monthly keep-weekly keep-yearly')),
  createCommand(pruneSection, pruneRequired, pruneOptions),
  updateCommand(
    pruneSection,
    { ...pruneRequired, ...pruneOptions },
    'comment disable ns max-depth keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly'.split(' '),
  ),
  removeCommand(pruneSection),
  runCommand(pruneSection, 'prune', { 'dry-run': flag('Say what would be removed, and remove nothing.', { default: false }) }),
];

// --- verification ----------------------------------------------------------------

const verifySection: Section = {
  word: 'verify-job',
  key: 'id',
  keySchema: jobId,
  path: '/config/verify',
  noun: 'verification job',
  completions: { id: verifyJobs, store: datastores, ns: namespaces, schedule: calendarEvents },
};

const verifyStore = { store: datastoreName };

const verifyJobOptions = {
  ...commentOption,
  ...maxDepthOption(7),
  ...namespaceOption,
  ...scheduleOption('Run verify job at specified schedule.'),
  ...verifyOptions,
};

export const verifyJobCommands: readonly Command[] = [
  listCommand(verifySection, () => [
    ...plainColumns('id store schedule'),
    { name: 'ignore-verified', type: 'boolean' },
    { name: 'outdated-after', type: 'integer' },
    { name: 'comment' },
  ]),
  showCommand(verifySection, plainColumns('id store comment ignore-verified max-depth ns outdated-after read-threads schedule verify-threads')),
  createCommand(verifySection, verifyStore, verifyJobOptions),
  updateCommand(
    verifySection,
    { ...verifyStore, ...verifyJobOptions },
    'ignore-verified comment schedule outdated-after ns max-depth read-threads verify-threads'.split(' '),
  ),
  removeCommand(verifySection),
  runCommand(verifySection, 'verify'),
];
