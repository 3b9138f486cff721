import { FarshoreError, HttpError, errorCode } from '../base/errors.ts';
import { missingSection } from '../config/missing-section.ts';
import type { ProgressLog } from '../base/log.ts';
import { maintenanceOf, tuningOf, type DatastoreRecord, type DatastoreTable, type MaintenanceMode } from '../config/datastore-config.ts';
import { Datastore } from '../datastore/datastore.ts';
import type { DatastoreTuning } from '../datastore/tuning.ts';

/** What an access does (spec server 15): metadata only, reading content, changing content. */
export type Operation = 'lookup' | 'read' | 'write';

/** A datastore in use; counted as an active operation until disposed. */
export interface DatastoreLease extends Disposable {
  readonly store: Datastore;
  readonly record: DatastoreRecord;
}

interface OpenStore {
  store: Datastore;
  /** What it was opened with: another path or tuning needs another handle. */
  identity: string;
  leases: number;
}

/**
 * The configured datastores. Each is opened once and shared, since the locks of a process are lost when any descriptor of a `.lock`
 * file is closed (spec formats 4.6). Refuses what the maintenance mode forbids (spec server 15).
 */
export class Datastores {
  readonly #table: DatastoreTable;
  readonly #locksRoot: string;
  readonly #log: ProgressLog;
  readonly #open = new Map<string, Promise<OpenStore>>();
  readonly #active = new Map<string, { read: number; write: number }>();

  constructor(table: DatastoreTable, options: { locksRoot: string; log: ProgressLog }) {
    this.#table = table;
    this.#locksRoot = options.locksRoot;
    this.#log = options.log;
  }

  /** In file order. */
  records(): DatastoreRecord[] {
    return this.#table.list().records;
  }

  /** ConfigError `no such datastore 'x'`. */
  record(name: string): DatastoreRecord {
    const record = this.#table.find(name);
    if (record === undefined) throw missingSection('datastore', name);
    return record;
  }

  /** HttpError 400 when the datastore is unknown, under maintenance, or not there (its disk is not mounted). */
  async open(name: string, operation: Operation): Promise<DatastoreLease> {
    const record = this.record(name);
    refuseInMaintenance(record, operation);
    const open = await this.#handle(record);
    // What forbids it may have been stored while the datastore was opened: whoever looks at the active operations after that relies on it.
    refuseInMaintenance(this.record(name), operation);
    const active = this.#active.get(name) ?? { read: 0, write: 0 };
    this.#active.set(name, active);
    if (operation !== 'lookup') active[operation] += 1;
    open.leases += 1;
    let disposed = false;
    return {
      store: open.store,
      record,
      [Symbol.dispose]: () => {
        if (disposed) return;
        disposed = true;
        open.leases -= 1;
        if (operation !== 'lookup') active[operation] -= 1;
      },
    };
  }

  /** Runs `work` with the datastore open. */
  async use<T>(name: string, operation: Operation, work: (store: Datastore, record: DatastoreRecord) => Promise<T>): Promise<T> {
    using lease = await this.open(name, operation);
    return await work(lease.store, lease.record);
  }

  activeOperations(name: string): { read: number; write: number } {
    return { read: 0, write: 0, ...this.#active.get(name) };
  }

  /**
   * Makes the folders of a new datastore, or checks those of an existing one (`reuse`), and runs `check` on it. It is configured by the
   * caller. `onProgress` hears of each percent from 1 to 99.
   */
  async create(record: DatastoreRecord, reuse: boolean, options: { onProgress?: (percent: number) => void; check?: (store: Datastore) => Promise<void> } = {}): Promise<void> {
    const { onProgress, check } = options;
    const store = await Datastore.create({ ...this.#options(record), reuse, ...(onProgress === undefined ? {} : { onProgress }) });
    try {
      await check?.(store);
    } finally {
      store.close();
    }
  }

  /** Forgets the open handle, e.g. when the datastore is removed. HttpError 400 while it is in use. */
  async close(name: string): Promise<void> {
    const open = await this.#open.get(name)?.catch(() => undefined);
    if (open === undefined) return;
    if (open.leases > 0) throw new HttpError(400, `datastore '${name}' is in use`);
    this.#open.delete(name);
    open.store.close();
  }

  /** At the end of the process. What a task that was given up still holds is left to it: its locks must not go before it does. */
  async closeAll(): Promise<void> {
    for (const [name, handle] of this.#open) {
      const open = await handle.catch(() => undefined);
      if (open?.leases === 0) open.store.close();
      this.#open.delete(name);
    }
  }

  #options(record: DatastoreRecord): { name: string; path: string; locksRoot: string; tuning: Partial<DatastoreTuning>; log: ProgressLog } {
    return { name: record.name, path: record.path, locksRoot: this.#locksRoot, tuning: openTuning(record), log: this.#log };
  }

  async #handle(record: DatastoreRecord): Promise<OpenStore> {
    const identity = JSON.stringify([record.path, record.tuning]);
    const present = await this.#open.get(record.name)?.catch(() => undefined);
    if (present !== undefined && (present.identity === identity || present.leases > 0)) return present;
    if (present !== undefined) await this.close(record.name);
    const opening = Datastore.open(this.#options(record)).then((store): OpenStore => ({ store, identity, leases: 0 }));
    this.#open.set(record.name, opening);
    try {
      return await opening;
    } catch (e) {
      this.#open.delete(record.name);
      if (e instanceof FarshoreError && errorCode(e) === 'store.missing') {
        throw new HttpError(400, `unable to open chunk store '${record.name}' at "${record.path}" - No such file or directory (os error 2)`, { cause: e, hint: `mount the file system that holds ${record.path}` });
      }
      throw e;
    }
  }
}

function openTuning(record: DatastoreRecord): Partial<DatastoreTuning> {
  const options = tuningOf(record);
  const tuning: { [K in keyof DatastoreTuning]: DatastoreTuning[K] | undefined } = {
    chunkOrder: options['chunk-order'],
    syncLevel: options['sync-level'],
    gcAtimeSafetyCheck: options['gc-atime-safety-check'],
    gcAtimeCutoff: options['gc-atime-cutoff'],
    gcCacheCapacity: options['gc-cache-capacity'],
    verificationReaders: options['default-verification-readers'],
    verificationWorkers: options['default-verification-workers'],
  };
  return Object.fromEntries(Object.entries(tuning).filter(([, value]) => value !== undefined)) as Partial<DatastoreTuning>;
}

function refuseInMaintenance(record: DatastoreRecord, operation: Operation): void {
  const mode = maintenanceOf(record);
  if (mode === null) return;
  const allowed: Record<Operation, boolean> = { lookup: mode.type !== 'delete', read: mode.type === 'read-only', write: false };
  if (allowed[operation]) return;
  throw new HttpError(400, `datastore '${record.name}' is unavailable: ${maintenanceReason(mode)}`);
}

function maintenanceReason(mode: MaintenanceMode): string {
  const message = mode.message === undefined ? '' : decodeURIComponent(mode.message);
  switch (mode.type) {
    case 'read-only':
    case 'offline':
      return `${mode.type} maintenance mode: ${message}`;
    case 's3-refresh':
      return `S3 refresh maintenance mode: ${message}`;
    case 'unmount':
      return 'datastore is being unmounted';
    case 'delete':
      return 'datastore is being deleted';
  }
}
