import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProgressLog } from '../../src/base/log.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import type { DatastoreTuning } from '../../src/datastore/tuning.ts';
import { temporaryFolder, unpackGoldenDatastore } from './golden.ts';

export interface TestStore extends AsyncDisposable {
  store: Datastore;
  /** Temp folder that holds the datastore in `main` and its locks in `locks`. */
  folder: string;
}

async function openIn(fill: (path: string) => Promise<void>, tuning: Partial<DatastoreTuning>): Promise<TestStore> {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'main');
  await mkdir(path);
  await fill(path);
  const store = await Datastore.open({ name: 'main', path, locksRoot: join(folder.path, 'locks'), tuning });
  return {
    store,
    folder: folder.path,
    [Symbol.asyncDispose]: async () => {
      store.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A copy of the golden datastore that a test may change; removed at the end of the scope. Nothing is synced to disk: tests survive no power loss. */
export function goldenStore(tuning: Partial<DatastoreTuning> = {}): Promise<TestStore> {
  return openIn((path) => unpackGoldenDatastore(path), { syncLevel: 'none', ...tuning });
}

/** An empty datastore, chunk folders made on demand. */
export function emptyStore(tuning: Partial<DatastoreTuning> = {}): Promise<TestStore> {
  return openIn(
    async (path) => {
      await mkdir(join(path, '.chunks'), { mode: 0o750 });
      await writeFile(join(path, '.lock'), '');
    },
    { syncLevel: 'none', ...tuning },
  );
}

/** Keeps the lines that work reports. */
export class RecordingLog implements ProgressLog {
  readonly lines: string[] = [];
  /** Lines that count as warnings. */
  readonly warnings: string[] = [];

  debug(_message: string): void {}

  info(message: string): void {
    this.lines.push(message);
  }

  warn(message: string): void {
    this.lines.push(message);
    this.warnings.push(message);
  }

  error(message: string): void {
    this.warn(message);
  }
}
