import assert from 'node:assert/strict';
import type { Static, TObject } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { missingSection } from './missing-section.ts';
import type { SectionFile } from './files.ts';
import type { SectionType } from './section-config.ts';

export interface RecordChanges<T> {
  /** Names of properties to reset; applied first. */
  delete?: readonly string[] | undefined;
  /** New values. Undefined ones are left out. */
  set?: { readonly [K in keyof T]?: T[K] | undefined };
}

/**
 * A record with properties deleted, then set (spec rest-api 2, delete). A comment is trimmed, and is deleted when nothing is left;
 * `keepComment` stores it as given (prune jobs).
 */
export function changedRecord<T extends object>(record: T, changes: RecordChanges<T>, options: { keepComment?: boolean } = {}): T {
  const result = { ...record } as Record<string, unknown>;
  for (const name of changes.delete ?? []) delete result[name];
  for (const [name, value] of Object.entries(changes.set ?? {})) {
    if (value === undefined) continue;
    const trimmed = name === 'comment' && options.keepComment !== true && typeof value === 'string' ? value.trim() : value;
    if (name === 'comment' && trimmed === '' && options.keepComment !== true) delete result[name];
    else result[name] = trimmed;
  }
  return result as T;
}

/** The sections of one type in one file, as records with the reference's property names: what the API returns. */
export class SectionTable<S extends TObject> {
  readonly file: SectionFile;
  readonly type: SectionType<S>;

  constructor(file: SectionFile, type: SectionType<S>) {
    this.file = file;
    this.type = type;
  }

  /** All records in file order, as copies, and the digest of the file they come from. */
  list(): { records: Array<Static<S>>; digest: string } {
    const { value, digest } = this.file.load();
    return { records: value.list(this.type), digest };
  }

  find(id: string): Static<S> | undefined {
    return this.file.load().value.find(this.type, id);
  }

  /** ConfigError `config.missing`: `no such sync 'x'`. */
  get(id: string): Static<S> {
    return this.file.load().value.get(this.type, id);
  }

  digest(): string {
    return this.file.load().digest;
  }

  /** Adds a record. ConfigError `config.exists` when its id is taken. */
  async create(record: Static<S>, options: { digest?: string | undefined } = {}): Promise<void> {
    const id = (record as Record<string, unknown>)[this.type.idProperty];
    assert.ok(typeof id === 'string', 'a record has its id');
    await this.file.update((config) => {
      if (config.has(id)) throw new ConfigError('config.exists', `${this.type.type} '${id}' already exists.`);
      config.set(this.type, record);
    }, options);
  }

  /** Replaces one record by what `change` makes of it, under the file's lock; returns the new one. */
  async update(id: string, change: (record: Static<S>) => Static<S>, options: { digest?: string | undefined } = {}): Promise<Static<S>> {
    return this.file.update((config) => {
      const record = change(config.get(this.type, id));
      assert.equal((record as Record<string, unknown>)[this.type.idProperty], id, 'a change keeps the id');
      config.set(this.type, record);
      return record;
    }, options);
  }

  /** Removes one record; ConfigError `config.missing` when it is not there. */
  async remove(id: string, options: { digest?: string | undefined } = {}): Promise<void> {
    await this.file.update((config) => {
      if (!config.remove(this.type, id)) throw missingSection(this.type.type, id);
    }, options);
  }
}
