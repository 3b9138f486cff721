import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError, errorCode } from '../base/errors.ts';
import { splitShellLine } from '../terminal/completion.ts';
import { readDescriptor } from './read-descriptor.ts';
import { systemErrorText } from './system-error-text.ts';

/** Variables of the process, as the entry gives them: this folder does not read the environment itself. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** Names that can come as value, descriptor, file, command or credential (spec client-cli 2.3). */
export type ValueName = 'PBS_PASSWORD' | 'PBS_ENCRYPTION_PASSWORD' | 'PBS_FINGERPRINT' | 'PBS_REPOSITORY';

const credentialNames: Readonly<Record<ValueName, string>> = {
  PBS_PASSWORD: 'password',
  PBS_ENCRYPTION_PASSWORD: 'encryption-password',
  PBS_FINGERPRINT: 'fingerprint',
  PBS_REPOSITORY: 'repository',
};

/** Far above any secret: a wrong file is not taken whole. */
const maxValueBytes = 1024 * 1024;
const commandTimeoutMs = 120_000;

const runFile = promisify(execFile);

function fail(message: string): never {
  throw new ConfigError('config.environment', message);
}

function decoded(name: string, bytes: Buffer): string {
  if (bytes.length > maxValueBytes) fail(`ENV(${name}) holds more than ${maxValueBytes} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail(`ENV(${name}) contains non-unicode data`);
  }
}

function firstLine(text: string): string {
  return /^[^\r\n]*/.exec(text)![0];
}

async function fromDescriptor(name: string, text: string): Promise<Buffer> {
  if (!/^[0-9]{1,9}$/.test(text)) fail(`unable to parse file descriptor in ENV(${name})`);
  try {
    return await readDescriptor(Number(text), maxValueBytes);
  } catch (e) {
    return fail(`unable to read file descriptor in ENV(${name}): ${systemErrorText(e)}`);
  }
}

async function fromFile(name: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (e) {
    return fail(`unable to open file in ENV(${name}): ${systemErrorText(e)}`);
  }
}

async function fromCommand(name: string, line: string): Promise<Buffer> {
  const { done, last } = splitShellLine(line);
  const [program, ...words] = last === '' ? done : [...done, last];
  if (program === undefined) return fail(`ENV(${name}) names no command`);
  try {
    return (await runFile(program, words, { encoding: 'buffer', maxBuffer: maxValueBytes, timeout: commandTimeoutMs })).stdout;
  } catch (e) {
    // Node's own message repeats the command with its arguments, which may hold a secret.
    const { code, stderr } = e as { code?: unknown; stderr?: unknown };
    const said = Buffer.isBuffer(stderr) ? stderr.toString('utf8').trim() : '';
    return fail(`command ${JSON.stringify(program)} failed - ${typeof code === 'number' ? `status code: ${code} - ${said || 'no error message'}` : systemErrorText(e)}`);
  }
}

/** The first of `_FD`, `_FILE`, `_CMD` that is set. */
async function otherSource(variables: Variables, base: ValueName): Promise<string | null> {
  for (const [suffix, read] of [['FD', fromDescriptor], ['FILE', fromFile], ['CMD', fromCommand]] as const) {
    const name = `${base}_${suffix}`;
    const text = variables[name];
    if (text !== undefined) return decoded(name, await read(name, text));
  }
  return null;
}

/**
 * First of: the variable, `_FD`, `_FILE`, `_CMD` (first line of each), the systemd credential (whole). Null when there is none.
 * ConfigError `config.environment` when the one that is set cannot be read.
 */
export async function environmentValue(variables: Variables, base: ValueName): Promise<string | null> {
  const text = variables[base] ?? (await otherSource(variables, base));
  if (text !== null) return firstLine(text);
  const folder = variables['CREDENTIALS_DIRECTORY'];
  if (folder === undefined) return null;
  const path = join(folder, `proxmox-backup-client.${credentialNames[base]}`);
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (e) {
    return errorCode(e) === 'ENOENT' ? null : fail(`unable to read credential ${JSON.stringify(path)}: ${systemErrorText(e)}`);
  }
  return decoded('CREDENTIALS_DIRECTORY', bytes);
}
