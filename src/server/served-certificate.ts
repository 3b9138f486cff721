import { readFile } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import { replaceFile, type FileRights } from '../config/atomic-file.ts';
import { certificateInfo, checkedCertificate, ensureCertificate, loadCertificate, newSelfSigned, type CertificateFiles, type CertificateInfo, type ServerCertificate } from './certificate.ts';

export interface ServedCertificateOptions {
  files: CertificateFiles;
  hostName: string;
  rights: FileRights;
  clock: Clock;
  log: ProgressLog;
}

/** The certificate that the server serves now, and its replacement while it runs (spec server 10). */
export class ServedCertificate {
  readonly #options: ServedCertificateOptions;
  #current: ServerCertificate;
  readonly #listeners: Array<(certificate: ServerCertificate) => void> = [];
  /** One change after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(options: ServedCertificateOptions, current: ServerCertificate) {
    this.#options = options;
    this.#current = current;
  }

  /** Loads it, or makes it where there is none. ConfigError `config.certificate`. */
  static async open(options: ServedCertificateOptions): Promise<ServedCertificate> {
    return new ServedCertificate(options, await ensureCertificate(options));
  }

  get current(): ServerCertificate {
    return this.#current;
  }

  /** Told of every later certificate. */
  onChange(listener: (certificate: ServerCertificate) => void): void {
    this.#listeners.push(listener);
  }

  /** In the form of `GET /nodes/{node}/certificates/info`. */
  list(): CertificateInfo[] {
    return [certificateInfo('proxy.pem', this.#current.certificate)];
  }

  /**
   * Serves another certificate (PEM, a chain may follow) from now on, also to new connections of this process. Without `key` it must belong
   * to the present one. ConfigError `config.certificate`, and nothing changes, when the two do not fit.
   */
  async install(certificate: string, key?: string): Promise<CertificateInfo[]> {
    return this.#change(async () => {
      const { files } = this.#options;
      const wantedKey = key ?? (await readFile(files.key, 'utf8'));
      checkedCertificate(certificate, wantedKey, files);
      return { certificate, key: wantedKey };
    });
  }

  /** Back to a new self-signed certificate. */
  async reset(): Promise<CertificateInfo[]> {
    const { hostName, clock } = this.#options;
    return this.#change(() => newSelfSigned(hostName, clock));
  }

  /** Serves what is in the files now: somebody has renewed it there. ConfigError `config.certificate`, and the present one stays, when they do not fit. */
  async reload(): Promise<void> {
    const { files, clock, log } = this.#options;
    await this.#inOrder(async () => {
      const found = await loadCertificate(files, clock, log);
      if (found.certificate === this.#current.certificate && found.key === this.#current.key) return;
      this.#serve(found);
      log.info(`certificate read anew, fingerprint ${found.fingerprint}`);
    });
  }

  async #change(next: () => Promise<{ certificate: string; key: string }>): Promise<CertificateInfo[]> {
    return this.#inOrder(async () => {
      const { files, rights, clock, log } = this.#options;
      const present = this.#current;
      const pair = await next();
      await replaceFile(files.key, Buffer.from(pair.key), rights);
      try {
        await replaceFile(files.certificate, Buffer.from(pair.certificate), rights);
      } catch (e) {
        // A key without its certificate would keep the server from starting.
        await replaceFile(files.key, Buffer.from(present.key), rights);
        throw e;
      }
      this.#serve(await loadCertificate(files, clock, log));
      log.info(`certificate replaced, fingerprint ${this.#current.fingerprint}`);
      return this.list();
    });
  }

  async #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#changing;
    const done = (async () => {
      await before;
      return work();
    })();
    this.#changing = settled(done);
    return done;
  }

  #serve(certificate: ServerCertificate): void {
    this.#current = certificate;
    for (const listener of this.#listeners) listener(certificate);
  }
}

/** Resolves when `work` has ended, however. */
async function settled(work: Promise<unknown>): Promise<void> {
  await Promise.allSettled([work]);
}
