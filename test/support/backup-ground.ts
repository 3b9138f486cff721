import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { decodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { ClientHome, type ClientRun, type ClientRunOptions } from './client-runs.ts';
import { clientServer, type ClientServer } from './client-server.ts';

/** A whole server and a user of our client who backs up to it. */
export class BackupGround {
  readonly server: ClientServer;
  readonly home: ClientHome;
  #time = 1_770_000_000;

  private constructor(server: ClientServer, home: ClientHome) {
    this.server = server;
    this.home = home;
  }

  static async make(t: TestContext): Promise<BackupGround> {
    const server = await clientServer(t, { own: true });
    return new BackupGround(server, await ClientHome.make(t, server));
  }

  path(name: string): string {
    return join(this.home.path, name);
  }

  /** A backup of the group `host/new` a day later than the last one. */
  async backUp(argv: string[], options: ClientRunOptions = {}): Promise<ClientRun & { snapshot: string }> {
    this.#time += 86_400;
    const run = await this.home.run(['backup', ...argv, '--backup-id', 'new', '--backup-time', String(this.#time)], options);
    return { ...run, snapshot: `host/new/${new Date(this.#time * 1000).toISOString().replace('.000', '')}` };
  }

  async restored(snapshot: string, archive: string, argv: string[] = [], options: ClientRunOptions = {}): Promise<Buffer> {
    const run = await this.home.run(['restore', snapshot, archive, '-', ...argv], options);
    assert.equal(run.exit, 0, run.stderr);
    return run.bytes;
  }

  async manifest(snapshot: string, ns = ''): Promise<Manifest> {
    return decodeManifestBlob(await readFile(join(this.server.path, ns, snapshot, 'index.json.blob')));
  }
}
