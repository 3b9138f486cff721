import { Type } from 'typebox';
import { trafficRuleName, userId } from '../../config/schemas.ts';
import { bytesCell } from '../../terminal/renderers.ts';
import type { Command } from '../command.ts';
import { trafficRules, userIds } from '../completions.ts';
import { commentOption, outputFormatOption, parameters, rateOptions } from './parameters.ts';
import { createCommand, forApi, listCommand, plainColumns, removeCommand, showCommand, showData, updateCommand, type Section } from './section.ts';

const section: Section = { word: 'traffic-control', key: 'name', keySchema: trafficRuleName, path: '/config/traffic-control', noun: 'traffic control rule', completions: { name: trafficRules, userIds } };

const network = { network: Type.Array(Type.String({ format: 'cidr' }), { description: 'Networks that the rule is for, e.g. 192.0.2.0/24.' }) };

const options = {
  ...commentOption,
  ...rateOptions,
  timeframe: Type.Array(Type.String({ format: 'daily-duration' }), { description: 'When the rule holds, in local time, e.g. `mon..fri 8-17:30`; always when absent.' }),
  users: Type.Array(userId, { description: 'Users that the rule is for; everybody when absent.' }),
};

/** What goes through the rules right now. */
const traffic: Command = {
  words: ['traffic-control', 'traffic'],
  description: 'Show the present traffic of all traffic control rules.',
  parameters: parameters({}, outputFormatOption),
  positional: [],
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/admin/traffic-control', forApi(given));
    showData(context, { kind: 'list', columns: [{ name: 'name' }, ...['cur-rate-in', 'cur-rate-out'].map((name) => ({ name, type: 'integer' as const, render: bytesCell }))] }, data, given);
  },
};

export const trafficControlCommands: readonly Command[] = [
  listCommand(section, () => plainColumns('name rate-in burst-in rate-out burst-out network timeframe comment')),
  showCommand(section, plainColumns('name network comment timeframe users burst-in burst-out rate-in rate-out')),
  traffic,
  createCommand(section, network, options),
  updateCommand(section, { ...network, ...options }, 'rate-in burst-in rate-out burst-out comment timeframe users'.split(' ')),
  removeCommand(section),
];
