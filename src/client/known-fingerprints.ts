import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '../base/errors.ts';
import { replaceFile } from '../datastore/replace-file.ts';

const linePattern = /^(\S+) ([0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){31})$/;

/** Fingerprints that a person has confirmed: lines `<host> <fingerprint>` (spec client-cli 2.4). */
export class KnownFingerprints {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Lower case; null when the host is not known. */
  async of(host: string): Promise<string | null> {
    return (await this.#read()).get(host) ?? null;
  }

  /** Remembers a fingerprint as the newest, at the end; lines that are no entries go. */
  async remember(host: string, fingerprint: string): Promise<void> {
    const entries = await this.#read();
    entries.delete(host);
    entries.set(host, fingerprint);
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    await replaceFile(this.#path, [...entries].map(([name, value]) => `${name} ${value}\n`).join(''), { mode: 0o600, owner: null });
  }

  async #read(): Promise<Map<string, string>> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return new Map();
      throw e;
    }
    const entries = new Map<string, string>();
    for (const line of text.split('\n')) {
      const match = linePattern.exec(line.trim());
      if (match !== null) entries.set(match[1]!, match[2]!.toLowerCase());
    }
    return entries;
  }
}
