import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorChain, errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { builtinTemplates, type TemplateName } from './builtin-templates.ts';
import type { Severity } from './matching.ts';
import { escapeHtml, renderTemplate, type RenderOptions } from './template.ts';
import { messageHelpers } from './template-helpers.ts';

/** Something that happened, before anybody is told. */
export interface NotificationEvent {
  template: TemplateName;
  severity: Severity;
  /** For matchers. `hostname` is added. */
  fields: Readonly<Record<string, string>>;
  /** For templates. `hostname`, `fqdn` and `base-url` are added. */
  data: Readonly<Record<string, unknown>>;
  /** Seconds since the epoch. */
  time: number;
  /** Events with the same cause are told together; null: each for itself. */
  cause: string | null;
}

/** What a target gets to deliver. */
export interface Message {
  title: string;
  text: string;
  html: string;
  severity: Severity;
  fields: Readonly<Record<string, string>>;
  time: number;
}

/** Who this server is, in texts and fields. */
export interface HostNames {
  hostname: string;
  fqdn: string;
  baseUrl: string;
}

const maxTemplateFile = 256 * 1024;
const helpers = { ...messageHelpers, present: (value: unknown) => value !== undefined && value !== null && value !== '' };

/** Makes messages of events, by our own texts or by files `{template}-{subject|body}.{txt|html}.hbs` that an administrator put into `folder`. */
export class MessageTexts {
  readonly #folder: string;
  readonly #host: HostNames;
  readonly #log: ProgressLog;

  constructor(parts: { folder: string; host: HostNames; log: ProgressLog }) {
    this.#folder = parts.folder;
    this.#host = parts.host;
    this.#log = parts.log;
  }

  async messageOf(event: NotificationEvent): Promise<Message> {
    const data = { ...event.data, hostname: this.#host.hostname, fqdn: this.#host.fqdn, 'base-url': this.#host.baseUrl };
    const builtin = builtinTemplates[event.template];
    const title = await this.#render(`${event.template}-subject.txt.hbs`, builtin.subject, data, { helpers });
    const ownText = await this.#own(`${event.template}-body.txt.hbs`, data, { helpers });
    const text = ownText ?? renderTemplate(builtin.text, data, { helpers });
    const ownHtml = await this.#own(`${event.template}-body.html.hbs`, data, { helpers, escape: escapeHtml });
    // An own text without an own HTML body is shown as it is, as by the reference.
    const html = ownHtml ?? (ownText === null ? renderTemplate(builtin.html, data, { helpers, escape: escapeHtml }) : htmlOfText(text));
    return { title: title.replace(/\s+/g, ' ').trim(), text, html, severity: event.severity, fields: event.fields, time: event.time };
  }

  async #render(file: string, builtin: string, data: unknown, options: RenderOptions): Promise<string> {
    return (await this.#own(file, data, options)) ?? renderTemplate(builtin, data, options);
  }

  /** Null when there is no such file, or when it cannot be used, which the log tells: a wrong template must not keep a message back. */
  async #own(file: string, data: unknown, options: RenderOptions): Promise<string | null> {
    const path = join(this.#folder, file);
    try {
      if ((await stat(path)).size > maxTemplateFile) throw new RangeError(`longer than ${maxTemplateFile} bytes`);
      return renderTemplate(await readFile(path, 'utf8'), data, options);
    } catch (e) {
      if (errorCode(e) !== 'ENOENT' && errorCode(e) !== 'ENOTDIR') this.#log.error(`notification template "${path}" is not used: ${errorChain(e)}`);
      return null;
    }
  }
}

export function htmlOfText(text: string): string {
  return `<html><body><pre>${escapeHtml(text)}</pre></body></html>`;
}
