import type { CommandContext } from '../command.ts';
import { humanSize } from '../../base/human-size.ts';

/** What `datastore remove` would do with these parameters; asks for listings only. HttpError 404 when there is no such datastore. */
export async function previewRemoval(context: CommandContext, given: Readonly<Record<string, unknown>>): Promise<void> {
  const name = String(given['name']);
  const { data } = await context.api.call('GET', '/config/datastore/{name}', { name });
  const path = isRecord(data) ? String(data['path']) : '';
  const say = (line: string): void => context.stdout.write(`${line}\n`);
  say(`would remove datastore '${name}' from the configuration`);
  if (given['keep-job-configs'] !== true) {
    for (const [word, kind] of [['sync job', 'sync'], ['prune job', 'prune'], ['verify job', 'verify']] as const) {
      const ids = listed((await context.api.call('GET', `/config/${kind}`, kind === 'sync' ? { 'sync-direction': 'all' } : {})).data).filter((job) => job['store'] === name).map((job) => String(job['id']));
      if (ids.length > 0) say(`would remove ${ids.length} ${word}(s): ${ids.join(', ')}`);
    }
    const entries = listed((await context.api.call('GET', '/access/acl', {})).data).filter((entry) => isAt(entry['path'], `/datastore/${name}`));
    if (entries.length > 0) say(`would remove ${entries.length} access control entries at and below /datastore/${name}`);
  }
  if (given['destroy-data'] !== true) {
    say(`would keep all data in "${path}"`);
    return;
  }
  let groups = 0;
  let snapshots = 0;
  let protectedSnapshots = 0;
  const namespaces = listed((await context.api.call('GET', '/admin/datastore/{store}/namespace', { store: name })).data).map((entry) => String(entry['ns']));
  for (const ns of namespaces) {
    const where = { store: name, ...(ns === '' ? {} : { ns }) };
    groups += listed((await context.api.call('GET', '/admin/datastore/{store}/groups', where)).data).length;
    const found = listed((await context.api.call('GET', '/admin/datastore/{store}/snapshots', where)).data);
    snapshots += found.length;
    protectedSnapshots += found.filter((entry) => entry['protected'] === true).length;
  }
  const size = namespaces.length === 0 ? undefined : await stored(context, name);
  say(`would delete all data in "${path}": ${snapshots} snapshots of ${groups} groups in ${namespaces.length} namespaces${protectedSnapshots === 0 ? '' : `, ${protectedSnapshots} of them PROTECTED`}, and all chunks${size === undefined ? '' : ` (${humanSize(size)} at the last garbage collection)`}`);
}

/** What the last garbage collection found. */
async function stored(context: CommandContext, store: string): Promise<number | undefined> {
  const { data } = await context.api.call('GET', '/admin/datastore/{store}/gc', { store });
  const bytes = isRecord(data) ? data['disk-bytes'] : undefined;
  return typeof bytes === 'number' && bytes > 0 ? bytes : undefined;
}

function isAt(path: unknown, place: string): boolean {
  return typeof path === 'string' && (path === place || path.startsWith(`${place}/`));
}

function listed(data: unknown): Array<Record<string, unknown>> {
  return Array.isArray(data) ? data.filter((entry) => isRecord(entry)) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
