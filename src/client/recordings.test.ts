import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClientHome, type ClientRun } from '../../test/support/client-runs.ts';
import { clientServer, type ClientServer } from '../../test/support/client-server.ts';
import { fixturePath, readFixture } from '../../test/support/golden.ts';

/** A run of the reference's client against the reference's server with the golden datastore, in a folder that holds the file `existing`. */
interface Recording {
  argv: string[];
  env?: Record<string, string | null>;
  exit: number;
  /** Long or binary output: its hash. */
  stdout: string | { bytes: number; sha256: string };
  stderr: string;
  /** New files, with the start of their SHA-256. */
  files?: Record<string, string>;
  /** Start of the SHA-256 of `existing`, when it was replaced. */
  overwritten?: string;
}

const recordings = readFixture('cli/client/recordings.jsonl').toString('utf8').trim().split('\n').map((line) => JSON.parse(line) as Recording);
const keys = fixturePath('keys');
const existing = 'here\n';

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function filled(text: string, server: ClientServer): string {
  return text.replaceAll('{keys}', keys).replaceAll('{host}', `127.0.0.1:${server.port}`).replaceAll('{server}', '127.0.0.1');
}

/** Usage texts without the options that we add. */
function withoutOptions(text: string): string {
  return text.replace(/^ --ignore-(?:corrupt|missing)-chunks .*\n(?: {3,}.*\n)*/gm, '');
}

/** Our stderr without what we add: options, cause and hint of an error. */
function withoutAdditions(text: string): string {
  return withoutOptions(text).replace(/\n\n(?:Caused by:|Hint: )[^]*$/, '\n').replace(/\n\nHint: [^\n]*\n/, '\n');
}

/** Without what depends on the speed of the machine. */
function steady(text: string): string {
  return text.replace(/ processed in .*, average .*\)/g, ' processed)').trimEnd();
}

/** Lists in JSON are in the order of a folder, which no two servers share. */
function comparable(output: string, argv: readonly string[]): unknown {
  if (!argv.some((word) => word.startsWith('json'))) return output;
  const list = JSON.parse(output) as Array<Record<string, unknown>>;
  const plain = list.map((entry) => JSON.stringify({ ...entry, ...(Array.isArray(entry['files']) ? { files: (entry['files'] as unknown[]).map((file) => JSON.stringify(file)).sort() } : {}) }));
  return { lines: output.split('\n').map((line) => line.replace(/,$/, '').length).sort((a, b) => a - b), entries: plain.sort() };
}

async function filesIn(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, sha256(await readFile(join(folder, name))).slice(0, 16)] as const)));
}

function checkOutput({ argv, stdout }: Recording, run: ClientRun): void {
  const output = run.bytes.length > 0 ? run.bytes : Buffer.from(withoutOptions(run.stdout));
  if (typeof stdout === 'string') assert.deepEqual(comparable(String(output), argv), comparable(stdout, argv));
  else assert.deepEqual({ bytes: output.length, sha256: sha256(output) }, stdout);
}

test('every recorded run of the reference’s client: same output, same messages, same files, same exit code', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  assert.ok(recordings.length > 90);
  const start = process.cwd();
  for (const recording of recordings) {
    const { argv, env = {}, exit, stderr, files = {}, overwritten } = recording;
    const name = `${Object.entries(env).map(([key, value]) => `${key}=${value} `).join('')}${argv.join(' ')}`;
    await t.test(name, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'farshore-test-'));
      try {
        await writeFile(join(folder, 'existing'), existing);
        if (env['PBS_PASSWORD'] === null) await rm(join(home.path, 'run', 'proxmox-backup'), { recursive: true, force: true });
        // Paths in messages are as given; nothing else runs in this process meanwhile.
        process.chdir(folder);
        const run = await home.run(argv.map((word) => filled(word, server)), { env: Object.fromEntries(Object.entries(env).map(([key, value]) => [key, value === null ? null : filled(value, server)])) });
        assert.deepEqual([steady(withoutAdditions(run.stderr)), run.exit], [steady(filled(stderr, server)), exit]);
        checkOutput(recording, run);
        assert.deepEqual(await filesIn(folder), { existing: overwritten ?? sha256(Buffer.from(existing)).slice(0, 16), ...files });
      } finally {
        process.chdir(start);
        await rm(folder, { recursive: true });
      }
    });
  }
});
