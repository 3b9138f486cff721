/** Texts of notifications: subject, plain text and the inner part of the HTML (spec server 14.3). Variables are those that the reference's templates have. */

export interface TemplateTexts {
  subject: string;
  text: string;
  html: string;
}

const style = 'font-family:sans-serif;font-size:14px;color:#222';
const cell = 'padding:2px 12px 2px 0;text-align:left;vertical-align:top';

/** A row of the HTML table for each `[label, value]`, a line of text for each; rows without value are left out. */
function texts(subject: string, opening: string, rows: ReadonlyArray<readonly [label: string, name: string, helper?: string]>, more: { text?: string; html?: string } = {}): TemplateTexts {
  const value = (name: string, helper?: string): string => (helper === undefined ? `{{${name}}}` : `{{${helper} ${name}}}`);
  const width = Math.max(...rows.map(([label]) => label.length)) + 2;
  // A count of 0 is a value: only what is missing or empty is left out.
  const present = (name: string, inner: string): string => `{{#if (present ${name})}}${inner}{{/if}}`;
  return {
    subject,
    text: `${opening}\n\n${rows.map(([label, name, helper]) => present(name, `${`${label}:`.padEnd(width)}${value(name, helper)}\n`)).join('')}${more.text ?? ''}\nServer: {{base-url}}\n`,
    html:
      `<html><body style="${style}"><p>${opening}</p><table style="border-collapse:collapse">` +
      rows.map(([label, name, helper]) => present(name, `<tr><th style="${cell}">${label}</th><td style="${cell}">${value(name, helper)}</td></tr>`)).join('') +
      `</table>${more.html ?? ''}<p><a href="{{base-url}}">{{base-url}}</a></p></body></html>`,
  };
}

const failure = { text: '\nReason: {{error}}\n', html: '<p><b>Reason:</b></p><pre style="white-space:pre-wrap">{{error}}</pre>' };
const taskLog = ['Task', 'upid'] as const;
const syncSubject = "Sync{{#if remote}} remote '{{remote}}'{{/if}} datastore '{{#if remote}}{{remote-datastore}}{{else}}{{datastore}}{{/if}}'";
const syncRows = [['Job', 'job-id'], ['Datastore', 'datastore'], ['Remote', 'remote'], ['Remote datastore', 'remote-datastore'], taskLog] as const;
const jobRows = [['Job', 'job-id'], ['Datastore', 'datastore'], taskLog] as const;
const snapshotList = {
  text: '{{#if failed-snapshot-list}}\nSnapshots that failed:\n{{#each failed-snapshot-list}}\n  {{this}}\n{{/each}}\n{{/if}}{{#if error}}\nReason: {{error}}\n{{/if}}\n',
  html: '{{#if failed-snapshot-list}}<p><b>Snapshots that failed:</b></p><ul>{{#each failed-snapshot-list}}<li>{{this}}</li>{{/each}}</ul>{{/if}}{{#if error}}<p><b>Reason:</b> {{error}}</p>{{/if}}',
};

export const builtinTemplates = {
  test: texts('Test notification for {{target}}', "This is a test: notifications of {{fqdn}} for target '{{target}}' arrive here.", [['Target', 'target']]),
  'gc-ok': texts("Garbage Collect Datastore '{{datastore}}' successful", "Garbage collection of datastore '{{datastore}}' on {{hostname}} ended well.", [
    ['Index files', 'index-file-count'],
    ['Data of all backups', 'index-data-bytes', 'human-bytes'],
    ['On disk', 'disk-bytes', 'human-bytes'],
    ['Chunks on disk', 'disk-chunks'],
    ['Deduplication factor', 'deduplication-factor'],
    ['Removed', 'removed-bytes', 'human-bytes'],
    ['Removed chunks', 'removed-chunks'],
    ['Waiting for removal', 'pending-bytes', 'human-bytes'],
    ['Waiting chunks', 'pending-chunks'],
    ['Removed bad chunks', 'removed-bad'],
    ['Bad chunks left', 'still-bad'],
    taskLog,
  ]),
  'gc-err': texts("Garbage Collect Datastore '{{datastore}}' failed", "Garbage collection of datastore '{{datastore}}' on {{hostname}} failed. Nothing is lost by that, but space is not freed until it succeeds.", [['Datastore', 'datastore'], taskLog], failure),
  'prune-ok': texts("Pruning datastore '{{datastore}}' successful", "Prune job '{{job-id}}' on {{hostname}} ended well.", jobRows),
  'prune-err': texts("Pruning datastore '{{datastore}}' failed", "Prune job '{{job-id}}' on {{hostname}} failed.", jobRows, failure),
  'sync-ok': texts(`${syncSubject} successful`, "Sync job '{{job-id}}' on {{hostname}} ended well.", syncRows),
  'sync-err': texts(`${syncSubject} failed`, "Sync job '{{job-id}}' on {{hostname}} failed. The copy may be behind its source.", syncRows, failure),
  'verify-ok': texts("Verify Datastore '{{datastore}}' successful", "Verify job '{{job-id}}' on {{hostname}} found nothing wrong.", jobRows),
  'verify-err': texts("Verify Datastore '{{datastore}}' failed", "Verify job '{{job-id}}' on {{hostname}} found backups that cannot be restored in full, or could not do its work.", jobRows, snapshotList),
  'freshness-err': texts("Backups in datastore '{{datastore}}' are too old", "Freshness contract '{{contract}}' on {{hostname}} is broken: {{reason}}", [['Contract', 'contract'], ['Datastore', 'datastore']]),
  'freshness-ok': texts("Backups in datastore '{{datastore}}' are fresh again", "Freshness contract '{{contract}}' on {{hostname}} holds again: {{reason}}", [['Contract', 'contract'], ['Datastore', 'datastore']]),
} as const satisfies Record<string, TemplateTexts>;

export type TemplateName = keyof typeof builtinTemplates;
