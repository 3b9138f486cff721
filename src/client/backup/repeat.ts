import { throwIfAborted } from '../../base/async.ts';
import { errorChain, HttpError } from '../../base/errors.ts';
import { manifestFileName, type BackupSnapshot } from '../../format/backup-path.ts';
import type { Manifest } from '../../format/manifest.ts';
import type { ClientContext } from '../client-context.ts';
import type { ServerConnection } from '../server-connection.ts';
import { downloadManifest } from '../snapshot-contents.ts';
import { mayReconnect, reconnectPausesMs } from '../steady-reader.ts';

/** What a server says while it has not heard yet that the last session has ended. */
const stillBusy = /lock|already running|another backup/i;

/** Looks whether a snapshot is on the server. */
export class SnapshotCheck {
  readonly #connection: ServerConnection;
  readonly #ns: string;
  readonly #snapshot: BackupSnapshot;

  constructor(connection: ServerConnection, ns: string, snapshot: BackupSnapshot) {
    this.#connection = connection;
    this.#ns = ns;
    this.#snapshot = snapshot;
  }

  /** True when it has exactly these files. Throws NetworkError, AbortedError. */
  async has({ files }: Manifest): Promise<boolean> {
    try {
      const reader = await this.#connection.openReader(this.#ns, this.#snapshot);
      try {
        const { manifest } = await downloadManifest(reader, null);
        const shown = (list: Manifest['files']): Set<string> => new Set(list.map(({ filename, size, csum }) => `${filename} ${size} ${csum}`));
        return shown(manifest.files).symmetricDifference(shown(files)).size === 0;
      } finally {
        reader.close();
      }
    } catch (e) {
      if (e instanceof HttpError) return false;
      throw e;
    }
  }
}

/** How far an attempt has come. */
export interface AttemptProgress {
  /** There was a session. */
  hasBegun: boolean;
  /** What the server was asked to finish. */
  finishing: Manifest | null;
}

/**
 * Runs `once`, and runs it again with growing pauses, a bounded number of times, when its connection is lost (once it has begun; that there is none to begin with is for
 * people). If it was lost while the server finished the backup, first looks whether that is there. Throws the last error.
 */
export async function repeatedly(
  { stderr, pause, isRepeatable, signal }: Pick<ClientContext, 'stderr' | 'pause'> & { isRepeatable: boolean; signal: AbortSignal },
  check: SnapshotCheck,
  once: (progress: AttemptProgress) => Promise<void>,
): Promise<void> {
  const progress: AttemptProgress = { hasBegun: false, finishing: null };
  for (let failures = 0; ; failures += 1) {
    try {
      if (progress.finishing !== null && (await check.has(progress.finishing))) {
        stderr.write(`the server has finished the backup: its ${manifestFileName} is there\n`);
        return;
      }
      progress.finishing = null;
      await once(progress);
      return;
    } catch (e) {
      throwIfAborted(signal);
      const isBusy = failures > 0 && e instanceof HttpError && stillBusy.test(e.message);
      const milliseconds = reconnectPausesMs[failures];
      if (!isRepeatable || !progress.hasBegun || milliseconds === undefined || !(isBusy || mayReconnect(e))) throw e;
      stderr.write(`${isBusy ? 'the server is not ready' : 'connection lost'} (${errorChain(e)}), starting the backup again in ${milliseconds / 1000} s\n`);
      await pause(milliseconds, signal);
    }
  }
}
