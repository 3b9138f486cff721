import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Method } from '../../src/api/endpoint.ts';
import type { InstallationPaths } from '../../src/config/home.ts';
import { LockFile } from '../../src/datastore/lock-file.ts';
import type { TaskResult } from '../../src/schedule/worker-task.ts';
import { unpackGoldenDatastore } from '../support/golden.ts';
import { listeningServer, madeToken, type ListeningServer } from '../support/raw-https.ts';

/**
 * Each kind of job, aborted at every moment of it: after no turn of the event loop, after one, and so on in growing steps until it was faster. It must end, say so,
 * let go of everything, leave what is there sound, and run again.
 */

const caller = { authId: 'root@pam', remoteAddress: 'unix' };
const stores = ['main', 'source', 'copy', 'pushed'] as const;
type Store = (typeof stores)[number];

class Ground {
  readonly #listening: ListeningServer;
  readonly paths: InstallationPaths;

  private constructor(listening: ListeningServer) {
    this.#listening = listening;
    this.paths = listening.server.paths;
  }

  static async make(t: TestContext): Promise<Ground> {
    const listening = await listeningServer(t, {}, async (paths) => {
      for (const store of stores) await appendFile(join(paths.config, 'datastore.cfg'), `datastore: ${store}\n\tpath ${storePath(paths, store)}\n\ttuning sync-level=none\n\n`, { mode: 0o600 });
      for (const store of stores) await mkdir(storePath(paths, store), { recursive: true });
    });
    const ground = new Ground(listening);
    await ground.fill('source');
    for (const store of ['main', 'copy', 'pushed'] as const) await ground.empty(store);
    const [, secret] = /:([^:]+)$/.exec(await madeToken(listening, 'job@pbs', 'Admin'))!;
    const { fingerprint } = listening.server.composition.certificates.current;
    await ground.ok('POST', '/config/remote', { name: 'self', host: '127.0.0.1', port: listening.port, 'auth-id': 'job@pbs!raw', password: secret, fingerprint });
    return ground;
  }

  async ok(method: Method, path: string, parameters: Record<string, unknown> = {}): Promise<unknown> {
    const result = await this.#listening.server.composition.router.call({ method, path, caller, parameters });
    assert.ok(result.ok, `${method} ${path}: ${JSON.stringify(result)}`);
    return result.data;
  }

  async empty(store: Store): Promise<void> {
    await mkdir(join(await this.#cleared(store), '.chunks'), { mode: 0o750 });
  }

  async fill(store: Store): Promise<void> {
    await unpackGoldenDatastore(await this.#cleared(store));
  }

  /** Its folder, with nothing in it but the lock file, which the server may have open. */
  async #cleared(store: Store): Promise<string> {
    const path = storePath(this.paths, store);
    for (const name of await readdir(path)) if (name !== '.lock') await rm(join(path, name), { recursive: true });
    await writeFile(join(path, '.lock'), '', { flag: 'a' });
    return path;
  }

  /** Starts a job, aborts it after so many turns, and waits for its end. */
  async run(path: string, turns: number): Promise<{ result: TaskResult; upid: string }> {
    const { tasks } = this.#listening.server.composition;
    const upid = (await this.ok('POST', path)) as string;
    for (let i = 0; i < turns && (await tasks.result(upid)) === null; i += 1) await turn();
    await this.ok('DELETE', `/nodes/localhost/tasks/${encodeURIComponent(upid)}`);
    // Also what it had started: sessions at the remote, which is this server.
    await tasks.idle();
    return { result: (await tasks.result(upid))!, upid };
  }

  async log(upid: string): Promise<string[]> {
    return (await readFile(this.#listening.server.composition.tasks.logPath(upid), 'utf8')).trimEnd().split('\n');
  }

  /** Nobody holds a lock, uses a datastore, or has left something half-written. */
  async assertReleased(): Promise<void> {
    for (const store of stores) {
      // A lease ends a moment after its task.
      while (JSON.stringify(await this.ok('GET', `/admin/datastore/${store}/active-operations`)) !== '{"read":0,"write":0}') await turn();
      const left = (await readdir(storePath(this.paths, store), { recursive: true })).filter((name) => /\.tmp|staging/i.test(name));
      assert.deepEqual(left, [], store);
    }
    for (const folder of [this.paths.locks, this.paths.jobStates]) {
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || (folder === this.paths.jobStates && !entry.name.endsWith('.lck'))) continue;
        (await LockFile.acquire(join(entry.parentPath, entry.name), { mode: 'exclusive', timeoutMs: 10_000 })).release();
      }
    }
  }

  async verified(store: Store): Promise<void> {
    const upid = (await this.ok('POST', `/admin/datastore/${store}/verify`, { 'ignore-verified': false })) as string;
    const { tasks } = this.#listening.server.composition;
    await tasks.idle();
    assert.equal((await tasks.result(upid))?.state, 'OK', (await this.log(upid)).join('\n'));
  }
}

function storePath(paths: InstallationPaths, store: Store): string {
  return join(paths.state, 'stores', store);
}

interface Kind {
  /** Makes the job; the call that runs it. */
  configure: (ground: Ground) => Promise<string>;
  /** What it works on, as it was. */
  reset: (ground: Ground) => Promise<void>;
  /** Must be sound after each abort. */
  sound: Store;
  jobState: string | null;
}

const sync = { store: 'copy', 'remote-store': 'source', 'max-depth': 7 };
const kinds: Readonly<Record<string, Kind>> = {
  'a sync between two datastores': {
    configure: async (ground) => {
      await ground.ok('POST', '/config/sync', { id: 'local', ...sync });
      return '/admin/sync/local/run';
    },
    reset: (ground) => ground.empty('copy'),
    sound: 'copy',
    jobState: 'syncjob-local',
  },
  'a pull': {
    configure: async (ground) => {
      await ground.ok('POST', '/config/sync', { id: 'pull', remote: 'self', ...sync });
      return '/admin/sync/pull/run';
    },
    reset: (ground) => ground.empty('copy'),
    sound: 'copy',
    jobState: 'syncjob-pull',
  },
  'a push': {
    configure: async (ground) => {
      await ground.ok('POST', '/config/sync', { id: 'push', remote: 'self', store: 'source', 'remote-store': 'pushed', 'sync-direction': 'push' });
      return '/admin/sync/push/run';
    },
    reset: (ground) => ground.empty('pushed'),
    sound: 'pushed',
    jobState: 'syncjob-push',
  },
  'a prune job': {
    configure: async (ground) => {
      await ground.ok('POST', '/config/prune', { id: 'old', store: 'main', schedule: 'daily', 'keep-last': 1 });
      return '/admin/prune/old/run';
    },
    reset: (ground) => ground.fill('main'),
    sound: 'main',
    jobState: 'prunejob-old',
  },
  'a verify job': {
    configure: async (ground) => {
      await ground.ok('POST', '/config/verify', { id: 'all', store: 'main', 'ignore-verified': false });
      return '/admin/verify/all/run';
    },
    reset: (ground) => ground.fill('main'),
    sound: 'main',
    jobState: 'verificationjob-all',
  },
  'a garbage collection': { configure: () => Promise.resolve('/admin/datastore/main/gc'), reset: (ground) => ground.fill('main'), sound: 'main', jobState: 'garbage_collection-main' },
};

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name} that is aborted at any moment`, async (t) => {
    const ground = await Ground.make(t);
    const path = await kind.configure(ground);
    let aborted = 0;
    for (let turns = 0; ; turns = turns * 2 + 1) {
      await kind.reset(ground);
      const { result, upid } = await ground.run(path, turns);
      const log = await ground.log(upid);
      await ground.assertReleased();
      if (kind.jobState !== null) {
        const state = JSON.parse(await readFile(join(ground.paths.jobStates, `${kind.jobState}.json`), 'utf8')) as Record<string, unknown>;
        assert.ok(JSON.stringify(state).includes(JSON.stringify(upid).slice(1, -1)) && 'state' in (Object.values(state)[0] as object), `the job's state has the end of this run: ${JSON.stringify(state)}`);
      }
      if (result.state === 'OK') {
        assert.match(log.at(-1)!, /TASK OK$/);
        break;
      }
      aborted += 1;
      assert.equal(result.state, 'Error', log.join('\n'));
      assert.match(log.at(-1)!, /TASK ERROR: .*abort/, log.join('\n'));
      await ground.verified(kind.sound);
    }
    assert.ok(aborted >= 3, `${aborted} runs were aborted`);
    await ground.verified(kind.sound);
  });
}
