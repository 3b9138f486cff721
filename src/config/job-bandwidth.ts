import type { SettingsFile } from './farshore-config.ts';

/**
 * Bandwidth timetables of sync jobs, and the one for all of them together. They stand in farshore.json, since the reference refuses sync.cfg with a property that
 * it does not know. What they mean: schedule/bandwidth-timetable.ts.
 */
export class JobBandwidth {
  readonly #settings: SettingsFile;

  constructor(settings: SettingsFile) {
    this.#settings = settings;
  }

  of(id: string): string | undefined {
    const entry = this.#settings.load().value['sync-job-bandwidth']?.find((one) => one.startsWith(`${id} `));
    return entry?.slice(id.length + 1);
  }

  /** Of all sync jobs together. */
  shared(): string | undefined {
    return this.#settings.load().value['sync-bandwidth'];
  }

  /** Empty: none. */
  async set(id: string, timetable: string): Promise<void> {
    if ((this.of(id) ?? '') === timetable) return;
    await this.#settings.update((settings) => {
      const others = (settings['sync-job-bandwidth'] ?? []).filter((one) => !one.startsWith(`${id} `));
      const after = timetable === '' ? others : [...others, `${id} ${timetable}`];
      if (after.length > 0) settings['sync-job-bandwidth'] = after;
      else delete settings['sync-job-bandwidth'];
    });
  }

  /** A job as the API shows it. */
  shown<T extends { id: string }>(job: T): T & { bandwidth?: string } {
    const bandwidth = this.of(job.id);
    return bandwidth === undefined ? job : { ...job, bandwidth };
  }
}
