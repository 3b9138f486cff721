import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { writeGoldenFiles } from '../support/peer-backups.ts';
import { runProgram, succeeded } from '../support/peer.ts';

/** Made by `make interop` where there are Python and a package registry. */
const python = join(import.meta.dirname, '..', '..', 'build', 'interop-python', 'bin', 'python');
const skip = existsSync(python) ? false : 'proxmoxer and clientapi-pbs are not here: make interop installs them where python3 and a package registry are';

test('proxmoxer drives the server: users, tokens, permissions, datastores, remotes, jobs, snapshots, tasks; clientapi-pbs reads it and starts a task', { skip }, async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-python-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using server = await FarshoreServer.start(join(work, 'home'));
  await server.manager('datastore', 'create', 'main', join(work, 'main'));
  writeGoldenFiles(join(work, 'main'), ['.gc-status']);
  await server.manager('user', 'create', 'op@pbs', '--password', 'operator-1');
  const answer = await server.manager('user', 'generate-token', 'op@pbs', 'tour');
  const { value } = JSON.parse(answer.slice(answer.indexOf('{'))) as { value: string };
  for (const authId of ['op@pbs', 'op@pbs!tour']) await server.manager('acl', 'update', '/', 'Admin', '--auth-id', authId);
  const tour = async (name: string, ...argv: string[]): Promise<string> => succeeded(await runProgram(python, [join(import.meta.dirname, 'python', name), ...argv]), name);
  assert.equal(await tour('proxmoxer_tour.py', String(server.port), server.fingerprint, join(work, 'copy')), 'proxmoxer: tour done\n');
  assert.equal(await tour('clientapi_tour.py', String(server.port), 'op@pbs!tour', value), 'clientapi-pbs: calls done\n');
});
