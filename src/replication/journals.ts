import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ProgressLog } from '../base/log.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { PossessionJournal } from './possession-journal.ts';

/** A journal in use; closed when the last user has disposed it. */
export interface JournalLease extends Disposable {
  readonly journal: PossessionJournal;
}

interface OpenJournal {
  journal: PossessionJournal;
  identity: string;
  users: number;
}

/** The possession journals of this server: one file per datastore and source. */
export class Journals {
  readonly #folder: string;
  readonly #log: ProgressLog;
  readonly #open = new Map<string, OpenJournal>();

  constructor(folder: string, log: ProgressLog) {
    this.#folder = folder;
    this.#log = log;
  }

  /** What the remote `name` has delivered into `store`. `identity`: where the remote leads to and who we are there. */
  ofRemote(store: string, name: string, identity: string): JournalLease {
    return this.#lease(store, `remote-${name}`, identity);
  }

  /** What came from another datastore of this server. */
  ofDatastore(store: string, source: string): JournalLease {
    return this.#lease(store, `local-${source}`, `datastore:${source}`);
  }

  /**
   * What `store` has pushed to the datastore `remoteStore` of the remote `name`. In a folder of its own: it tells of snapshots over there, and no verification
   * of ours may be taken for one of theirs.
   */
  ofPush(store: string, name: string, remoteStore: string, identity: string): JournalLease {
    return this.#lease(store, join('push', name, remoteStore), identity);
  }

  /** What the user `authId` has uploaded into `store`. */
  ofUploader(store: string, authId: string): JournalLease {
    return this.#lease(store, join('uploads', createHash('sha256').update(authId).digest('hex')), authId);
  }

  /**
   * True when the verification `upid` that a snapshot's manifest names came with the copy from elsewhere: it says nothing of this copy.
   */
  isForeignVerification(store: string, namespace: string, snapshot: BackupSnapshot, upid: string): boolean {
    const folder = join(this.#folder, store);
    if (!existsSync(folder)) return false;
    for (const file of readdirSync(folder)) {
      if (!file.endsWith('.sqlite')) continue;
      using lease = this.#lease(store, file.slice(0, -'.sqlite'.length), null);
      if (lease.journal.arrival(namespace, snapshot)?.verification === upid) return true;
    }
    return false;
  }

  /** `identity` null: whatever the file says. */
  #lease(store: string, source: string, identity: string | null): JournalLease {
    const path = join(this.#folder, store, `${source}.sqlite`);
    let open = this.#open.get(path);
    if (open === undefined || (identity !== null && open.identity !== identity && open.users === 0)) {
      const journal = PossessionJournal.open({ path, identity, bootId: bootId(), log: this.#log });
      open = { journal, identity: journal.identity, users: 0 };
      this.#open.set(path, open);
    }
    const used = open;
    used.users += 1;
    let disposed = false;
    return {
      journal: used.journal,
      [Symbol.dispose]: () => {
        if (disposed) return;
        disposed = true;
        used.users -= 1;
        if (used.users > 0) return;
        this.#open.delete(path);
        used.journal.close();
      },
    };
  }
}

/** Changes with every boot. Where the system has none, every process counts as a boot: more is fetched again after a restart, nothing is believed wrongly. */
function bootId(): string {
  const path = '/proc/sys/kernel/random/boot_id';
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : `process-${process.pid}-${Date.now()}`;
}
