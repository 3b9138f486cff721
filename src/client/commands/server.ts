import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import type { Row } from '../../terminal/table.ts';
import type { ClientCommand } from '../client-context.ts';
import { withConnection } from '../connect.ts';
import { isText } from '../is-text.ts';
import { repositoryOptions } from './options.ts';

/** Bytes with their share of `total`, rounded: the shares stand below each other. */
function usageCell(total: unknown): (value: unknown) => string {
  return (value) => {
    if (typeof value !== 'number' || typeof total !== 'number' || total <= 0) return String(value);
    const percent = Math.floor(((value + Math.floor(total / 200)) * 100) / total);
    return `${value} ${`(${percent} %)`.padStart(8)}`;
  };
}

const status: ClientCommand = {
  words: ['status'],
  description: 'Show how full the datastore is.',
  parameters: parameters({}, { ...repositoryOptions, ...outputFormatOption }),
  positional: [],
  run: async (context, given) => {
    const data = (await withConnection(context, given, async (connection) => connection.getOfDatastore('status'))) as Row;
    const { total, used, avail } = data;
    const render = usageCell(total);
    const fields = ['total', 'used', 'avail'].map((name) => ({ name, type: 'integer', render }) as const);
    show({ kind: 'object', fields }, isText(context, given) ? { total, used, avail } : data, given['output-format'], { ...context, output: { ...context.output, header: false } });
  },
};

const identity: ClientCommand = {
  words: ['server-identity'],
  description: 'Show the identity of the server.',
  parameters: parameters({}, { ...repositoryOptions, ...outputFormatOption }),
  positional: [],
  run: async (context, given) => {
    const { data } = await withConnection(context, given, async (connection) => connection.get('nodes/localhost/identity'));
    if (isText(context, given)) context.stdout.write(`pbs-instance-id: ${String((data as Row)['pbs-instance-id'])}\n`);
    else show({ kind: 'object', fields: [] }, data, given['output-format'], context);
  },
};

export const serverCommands: readonly ClientCommand[] = [identity, status];
