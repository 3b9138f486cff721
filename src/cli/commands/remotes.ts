import { authId, flag, givenPassword, hostName, remoteName } from '../../config/schemas.ts';
import { Type } from 'typebox';
import type { Command, CommandContext } from '../command.ts';
import { remotes } from '../completions.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import { commentOption, described, fingerprintOption, outputFormatOption, parameters } from './parameters.ts';
import { createCommand, forApi, listCommand, plainColumns, removeCommand, showCommand, updateCommand } from './section.ts';
import type { Section } from './section.ts';

const section: Section = { word: 'remote', key: 'name', keySchema: remoteName, path: '/config/remote', noun: 'remote', completions: { name: remotes } };

const access = {
  'auth-id': described(authId, 'Authentication ID'),
  host: described(hostName, 'DNS name or IP address.'),
  password: described(givenPassword, 'Password or auth token for remote host.'),
};

const options = {
  ...commentOption,
  ...fingerprintOption,
  port: Type.Integer({ description: 'The (optional) port' }),
  'use-node-proxy': flag('Connect through the HTTP proxy of the node.', { default: false }),
};

/** Answer of `POST /config/remote/{name}/test`. */
interface RemoteTest {
  ok: boolean;
  /** The one reason, and the command that mends it. */
  cause?: string;
  hint?: string;
  checks: Array<{ name: string; ok: boolean; detail?: string }>;
}

function mark(name: string, ok: boolean): string {
  if (!ok) return 'FAILED';
  return name === 'warning' ? 'WARN  ' : 'ok    ';
}

/** One line per check, then the cause and what mends it. */
export function remoteTestText(test: RemoteTest): string {
  const widest = test.checks.reduce((width, { name }) => Math.max(width, name.length), 0);
  const lines = test.checks.map(({ name, ok, detail = '' }) => `${mark(name, ok)} ${name.padEnd(widest)}  ${detail}`.trimEnd());
  if (test.cause !== undefined) lines.push('', `Cause: ${test.cause}`);
  if (test.hint !== undefined) lines.push(`Mend it with: ${test.hint}`);
  return lines.map((line) => `${line}\n`).join('');
}

async function runTest(context: CommandContext, given: Readonly<Record<string, unknown>>): Promise<number> {
  const { data } = await context.api.call('POST', '/config/remote/{name}/test', forApi(given));
  const test = data as RemoteTest;
  const format = outputFormat(given['output-format'], context.output);
  context.stdout.write(format === 'text' ? remoteTestText(test) : jsonText(test, format));
  return test.ok ? 0 : 255;
}

const test: Command = {
  words: ['remote', 'test'],
  description: 'Connect to a remote and say what works, what does not, and what mends it.',
  parameters: parameters({ name: remoteName }, outputFormatOption),
  positional: ['name'],
  completions: { name: remotes },
  run: runTest,
};

export const remoteCommands: readonly Command[] = [
  listCommand(section, () => plainColumns('name host auth-id fingerprint comment')),
  showCommand(section, plainColumns('name auth-id host comment fingerprint port use-node-proxy')),
  createCommand(section, access, options),
  updateCommand(section, { ...access, ...options }, ['comment', 'fingerprint', 'port', 'use-node-proxy']),
  removeCommand(section),
  test,
];
