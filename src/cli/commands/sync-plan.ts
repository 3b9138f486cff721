import { byteSize, flag, jobId, wholeNumber } from '../../config/schemas.ts';
import { humanSize } from '../../base/human-size.ts';
import { formatTimeSpan } from '../../base/time-span.ts';
import type { SyncPlanReply } from '../../api/sync-plan-reply.ts';
import { formatBackupTime } from '../../format/backup-path.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import type { Command, CommandContext } from '../command.ts';
import { outputFormatOption, parameters } from './parameters.ts';
import { forApi, type Section } from './section.ts';

/** `sync-job plan`: what a run would do now. Not in the reference. */
export function planCommand(section: Section): Command {
  return {
    words: [section.word, 'plan'],
    description: `Say what a run of a ${section.noun} would move and remove now, group by group, how many bytes that is and how long it takes. Moves and changes nothing. Example: sync-job plan nightly --rate 20MiB`,
    parameters: parameters(
      { id: jobId },
      {
        quick: flag('Ask only for listings: sizes are those of whole snapshots, an upper bound.', { default: false }),
        rate: byteSize('Bytes a second to reckon with, e.g. 20MiB; by default the rate-in of the job, or what its last run measured.'),
        window: wholeNumber('Hours of a day in which the job shall fit.', { minimum: 1, maximum: 24, default: 8 }),
        ...outputFormatOption,
      },
    ),
    positional: ['id'],
    completions: section.completions,
    run: showPlan,
  };
}

/** `given`: parameters of `sync-job plan`. */
export async function showPlan(context: CommandContext, given: Readonly<Record<string, unknown>>): Promise<void> {
  const { data } = await context.api.call('GET', '/admin/sync/{id}/plan', forApi(given));
  const format = outputFormat(given['output-format'], context.output);
  context.stdout.write(format === 'text' ? syncPlanText(data as SyncPlanReply) : jsonText(data, format));
}

const basisTexts = {
  exact: 'every chunk was looked at',
  ratio: 'estimated: every index was looked at, the source does not tell the sizes of chunks',
  listing: 'upper bound: from the sizes of whole snapshots in the listing, what is here already is not subtracted',
};

/** Groups with something to do, then what is removed, the sum, the time, and what to heed. */
export function syncPlanText(plan: SyncPlanReply): string {
  const way = plan.direction === 'push' ? `push datastore '${plan.source}' to '${plan.target}'` : `bring from '${plan.source}' into datastore '${plan.target}'`;
  const lines = [`Sync job '${plan.id}' would ${way}:`, ''];
  const place = (ns: string): string => (ns === '' ? '' : `${ns}:`);
  for (const ns of plan['new-namespaces']) lines.push(`new namespace ${ns}`);
  let idle = 0;
  for (const group of plan.groups) {
    if (group.snapshots.length === 0) {
      idle += 1;
      continue;
    }
    lines.push(`${place(group.ns)}${group['backup-type']}/${group['backup-id']}: ${humanSize(group.bytes)}`);
    for (const { 'backup-time': time, action, reason, bytes } of group.snapshots) lines.push(`  ${action.padEnd(6)} ${formatBackupTime(time)}  ${humanSize(bytes)} (${reason})`);
    for (const { reason, count, oldest, newest } of group.skipped) lines.push(`  skip   ${count} snapshot(s) ${formatBackupTime(oldest)}${oldest === newest ? '' : ` .. ${formatBackupTime(newest)}`} (${reason})`);
  }
  if (idle > 0) lines.push(`${idle} group(s) need nothing`);
  for (const one of plan.remove) lines.push(`${one.protected ? 'keep protected' : 'remove'} ${place(one.ns)}${one['backup-type']}/${one['backup-id']}/${formatBackupTime(one['backup-time'])} (${one.reason})`);
  for (const ns of plan['remove-namespaces']) lines.push(`remove namespace ${ns} (the source does not have it any more)`);
  lines.push('', `To move: ${humanSize(plan.bytes)} in ${plan.basis === 'listing' ? 'whole snapshots' : `${plan.chunks} chunks`}, and ${humanSize(plan['metadata-bytes'])} of indexes and manifests (${basisTexts[plan.basis]})`);
  if (plan['reused-chunks'] > 0) lines.push(`${plan.direction === 'push' ? 'There' : 'Here'} already: ${plan['reused-chunks']} chunks (${humanSize(plan['reused-bytes'])})`);
  lines.push(plan.rate === undefined || plan.seconds === undefined ? 'Time: not known, no run has measured a rate yet; give one with --rate' : `Time: ${formatTimeSpan(Math.ceil(plan.seconds))} at ${humanSize(plan.rate)}/s (${plan['rate-source']})`);
  const { 'bytes-per-day': perDay, 'seconds-per-day': seconds, verdict } = plan.window;
  if (perDay !== undefined && seconds !== undefined) lines.push(`A day brings ${humanSize(perDay)}, ${formatTimeSpan(Math.ceil(seconds))} of a window of ${formatTimeSpan(plan.window.seconds)}: ${verdict}`);
  for (const warning of plan.warnings) lines.push(`Warning: ${warning}`);
  return lines.map((line) => `${line}\n`).join('');
}
