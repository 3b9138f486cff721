import { errorChain } from '../../base/errors.ts';
import { contractId, freshnessContractSchema } from '../../config/freshness-config.ts';
import { datastoreName } from '../../config/schemas.ts';
import type { Command, CommandContext, Completion } from '../command.ts';
import { datastores, namespaces, syncJobs } from '../completions.ts';
import { deleteOption, digestOption, outputFormatOption, parameters } from './parameters.ts';
import { forApi, listCommand, plainColumns, removeCommand, showData, type Section } from './section.ts';

const contracts: Completion = async (api) => {
  const { data } = await api.call('GET', '/config/freshness');
  return Array.isArray(data) ? (data as Array<{ id: string }>).map(({ id }) => id) : [];
};

const section: Section = {
  word: 'freshness',
  key: 'id',
  keySchema: contractId,
  path: '/config/freshness',
  noun: 'freshness contract',
  completions: { id: contracts, store: datastores, ns: namespaces, job: syncJobs },
};

const { id: _id, store: _store, since: _since, ...settable } = freshnessContractSchema.properties;

async function runSet({ api }: CommandContext, given: Readonly<Record<string, unknown>>): Promise<void> {
  const { data } = await api.call('GET', section.path);
  const exists = Array.isArray(data) && data.some((one: { id?: unknown }) => one.id === given['id']);
  await api.call(exists ? 'PUT' : 'POST', exists ? `${section.path}/{id}` : section.path, forApi(given));
}

const set: Command = {
  words: [section.word, 'set'],
  description: 'Make or change a freshness contract: how old the newest copy may be. Setting it again, even without a change, starts it anew and forgets groups that were removed on purpose.',
  parameters: parameters(
    { id: contractId },
    {
      store: datastoreName,
      ...settable,
      ...deleteOption(['job', 'ns', 'max-depth', 'backup-type', 'backup-id', 'verified', 'every-group', 'heartbeat', 'disable', 'comment']),
      ...digestOption,
    },
  ),
  positional: ['id'],
  completions: section.completions,
  run: runSet,
};

interface Status {
  id: string;
  state: string;
  text: string;
}

/** As plugins of Nagios end. */
const exitCodes: Readonly<Record<string, number>> = { ok: 0, disabled: 0, pending: 1, stale: 2, unknown: 3 };
const words = ['OK', 'WARNING', 'CRITICAL', 'UNKNOWN'];
/** What weighs more comes later. */
const weight = [0, 1, 3, 2];

async function runCheck(context: CommandContext, given: Readonly<Record<string, unknown>>): Promise<number> {
  let statuses: Status[];
  try {
    const { data } = await context.api.call('GET', '/status/freshness', forApi(given));
    statuses = Array.isArray(data) ? (data as Status[]) : [];
  } catch (e) {
    context.stdout.write(`FRESHNESS UNKNOWN - ${errorChain(e)}\n`);
    return 3;
  }
  // A check of nothing must not look like one that all is well.
  const codes = statuses.length === 0 ? [3] : statuses.map(({ state }) => exitCodes[state] ?? 3);
  const code = codes.reduce((a, b) => (weight.indexOf(b) > weight.indexOf(a) ? b : a));
  if (given['output-format'] !== undefined && given['output-format'] !== 'text') {
    showData(context, { kind: 'list', columns: plainColumns('id state text') }, statuses, given);
    return code;
  }
  const bad = statuses.filter(({ state }) => (exitCodes[state] ?? 3) !== 0);
  const head = statuses.length === 0 ? 'there is no contract' : bad.length === 0 ? `${statuses.length} contracts hold` : `${bad.length} of ${statuses.length} contracts: ${bad.map(({ id }) => id).join(', ')}`;
  context.stdout.write(`FRESHNESS ${words[code]} - ${head}\n`);
  for (const { id, state, text } of statuses) context.stdout.write(`${id}: ${state}: ${text}\n`);
  return code;
}

const check: Command = {
  words: [section.word, 'check'],
  description: 'Look now whether freshness contracts hold. Ends as Nagios plugins do: 0 they hold, 1 nothing is there yet, 2 a copy is too old, 3 it cannot be seen.',
  parameters: parameters({}, { id: contractId, ...outputFormatOption }),
  positional: ['id'],
  completions: section.completions,
  run: runCheck,
};

export const freshnessCommands: readonly Command[] = [
  listCommand(section, () => plainColumns('id store ns job backup-type backup-id max-age verified every-group disable comment')),
  set,
  check,
  removeCommand(section),
];
