import { stat } from 'node:fs/promises';
import { Type } from 'typebox';
import { auditFiles } from '../../access/audit-log.ts';
import { verifyAuditFiles, type AuditVerification } from '../../access/audit-verify.ts';
import { auditListParameters, notedHash } from '../../api/audit.ts';
import { StoreError } from '../../base/errors.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import type { Command } from '../command.ts';
import { authIds } from '../completions.ts';
import { outputFormatOption, parameters } from './parameters.ts';
import { forApi, plainColumns, showData } from './section.ts';

const list: Command = {
  words: ['audit', 'list'],
  description: 'Show the newest lines of the audit log: who did what, with which token, from where.',
  parameters: parameters({}, { ...auditListParameters, ...outputFormatOption }),
  positional: [],
  completions: { auth: authIds },
  run: async (context, given) => {
    const { data } = await context.api.call('GET', '/farshore/audit', forApi(given));
    showData(context, { kind: 'list', columns: plainColumns('seq time auth address event method path status upid parameters message') }, data, given);
  },
};

/** What was found, in sentences. */
export function verificationText({ files, lines, torn, first, last, unfinished, contains, bad }: AuditVerification): string {
  const texts: string[] = [];
  if (bad !== null) texts.push(`First bad line: ${bad.file} line ${bad.line}: ${bad.reason}`);
  const range = first === null || last === null ? '' : `, number ${first.seq} (${first.time}) to ${last.seq} (${last.time})`;
  texts.push(`${bad === null ? 'Intact' : 'Good before it'}: ${lines} lines in ${files} ${files === 1 ? 'file' : 'files'}${range}`);
  if (first !== null && first.seq > 1) texts.push(`Numbers below ${first.seq} are not in these files.`);
  if (torn > 0) texts.push(`Lines that a crash tore, marked as such: ${torn}`);
  if (unfinished) texts.push('The last line is unfinished: it is being written, or a crash tore it.');
  if (contains === true) texts.push('The noted hash is there.');
  if (contains === false) texts.push('The noted hash is NOT there: lines were cut off or written anew.');
  if (last !== null) texts.push(`Hash of the last ${bad === null ? '' : 'good '}line, to note elsewhere: ${last.hash}`);
  return texts.map((text) => `${text}\n`).join('');
}

async function filesAt(path: string): Promise<string[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (e) {
    throw new StoreError('store.read', `cannot read ${path}`, { cause: e });
  }
  if (!isFolder) return [path];
  const files = await auditFiles(path);
  if (files.length === 0) throw new StoreError('store.read', `there is no audit log in ${path}`);
  return files;
}

const verify: Command = {
  words: ['audit', 'verify'],
  description: 'Follow the hash chain of the audit log and name the first bad line; exit code 1 when there is one. Of a copy, a file or a folder, no server is needed.',
  parameters: parameters({}, { path: Type.String({ minLength: 1, description: "File or folder of a copy; default: the server's log." }), contains: notedHash, ...outputFormatOption }),
  positional: ['path'],
  run: async (context, given) => {
    const { path, contains } = given as { path?: string; contains?: string };
    const result = path === undefined ? ((await context.api.call('GET', '/farshore/audit/verify', forApi(given))).data as AuditVerification) : await verifyAuditFiles(await filesAt(path), contains);
    const format = outputFormat(given['output-format'], context.output);
    context.stdout.write(format === 'text' ? verificationText(result) : jsonText(result, format));
    return result.bad === null && result.contains !== false ? 0 : 1;
  },
};

export const auditCommands: readonly Command[] = [list, verify];
