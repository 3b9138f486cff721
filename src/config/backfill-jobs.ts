import type { SettingsFile } from './farshore-config.ts';

/** Which sync jobs fill gaps: a property of theirs that stands in farshore.json, since the reference refuses sync.cfg with a property that it does not know. */
export class BackfillJobs {
  readonly #settings: SettingsFile;

  constructor(settings: SettingsFile) {
    this.#settings = settings;
  }

  has(id: string): boolean {
    return this.#settings.load().value['sync-backfill']?.includes(id) === true;
  }

  async set(id: string, on: boolean): Promise<void> {
    if (this.has(id) === on) return;
    await this.#settings.update((settings) => {
      const others = (settings['sync-backfill'] ?? []).filter((one) => one !== id);
      const after = on ? [...others, id] : others;
      if (after.length > 0) settings['sync-backfill'] = after;
      else delete settings['sync-backfill'];
    });
  }

  /** A job as the API shows it. */
  shown<T extends { id: string }>(job: T): T & { backfill?: boolean } {
    return this.has(job.id) ? { ...job, backfill: true } : job;
  }
}
