import { ConfigError, FarshoreError, HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { builtinTarget, type EndpointKind, type GotifyRecord, type SendmailRecord, type SmtpRecord, type WebhookRecord } from '../config/notification-config.ts';
import type { NodeFile } from '../config/node-config.ts';
import { parseHttpProxy, type HttpProxy } from '../protocol/http-proxy.ts';
import { deliveryError, nobodySetUp } from './delivery-error.ts';
import type { NotificationEntities } from './entities.ts';
import { gotifyRequest, sendByHttp, webhookRequest } from './http-delivery.ts';
import { sendBySendmail, sendBySmtp, sendmailPath, type Mail } from './mail.ts';
import type { Message } from './message.ts';

export interface TargetDeliveryParts {
  entities: NotificationEntities;
  /** Mail address of a user, if there is one. */
  mailOf: (userId: string) => string | undefined;
  node: Pick<NodeFile, 'load'>;
  /** Short name of this host. */
  hostname: string;
  userAgent: string;
  log: ProgressLog;
  /** Default: 30 s for each step of a delivery. */
  limitMs?: number;
  /** Default: the host's. */
  sendmail?: string;
  /** PEM certificates that are trusted beside those of Node and of the system. */
  trusted?: string[];
}

/** What a target of the reference's own times is called that is no entity: mails of datastores in mode `legacy-sendmail`. */
const legacyPrefix = 'legacy-sendmail ';

export function legacyTarget(userId: string): string {
  return legacyPrefix + userId;
}

/** Brings messages to targets, by the configuration of that moment. */
export class TargetDelivery {
  readonly #parts: TargetDeliveryParts;
  readonly #limitMs: number;

  constructor(parts: TargetDeliveryParts) {
    this.#parts = parts;
    this.#limitMs = parts.limitMs ?? 30_000;
  }

  /** HttpError 404 when there is no such target, NetworkError `net.delivery…` when it fails. */
  async send(name: string, message: Message): Promise<void> {
    if (name.startsWith(legacyPrefix)) {
      await this.#sendmail({ 'mailto-user': [name.slice(legacyPrefix.length)] }, message);
      return;
    }
    const target = this.#parts.entities.target(name);
    if (target === undefined) throw new HttpError(404, `endpoint '${name}' does not exist`);
    try {
      await this.#sendTo(target.kind, name, target.record, message);
    } catch (e) {
      // Faults of configuration files and the like: they do not go away by trying again.
      throw e instanceof FarshoreError ? e : deliveryError('internal error', { isTemporary: false, cause: e });
    }
  }

  async #sendTo(kind: EndpointKind, name: string, record: unknown, message: Message): Promise<void> {
    const secrets = this.#parts.entities.secretsOf(kind, name);
    switch (kind) {
      case 'gotify':
        return this.#http(gotifyRequest(record as GotifyRecord, secrets.token ?? '', message));
      case 'webhook':
        return this.#http(webhookRequest(record as WebhookRecord, secrets.secret ?? [], message));
      case 'sendmail':
        return this.#sendmail(record as SendmailRecord, message);
      case 'smtp': {
        const smtp = record as SmtpRecord;
        const mail = this.#mail(smtp, smtp['from-address'], message);
        return sendBySmtp(mail, { ...smtp, password: secrets.password, clientName: this.#parts.hostname, trusted: this.#parts.trusted }, this.#limitMs);
      }
    }
  }

  async #sendmail(record: Partial<SendmailRecord>, message: Message): Promise<void> {
    const from = record['from-address'] ?? this.#parts.node.load().value.record['email-from'] ?? 'root';
    await sendBySendmail(this.#mail(record, from, message), this.#parts.sendmail ?? sendmailPath, this.#limitMs);
  }

  #mail({ name, author, mailto = [], 'mailto-user': users = [] }: Pick<Partial<SendmailRecord>, 'name' | 'author' | 'mailto' | 'mailto-user'>, from: string, message: Message): Mail {
    const to = new Set(mailto);
    const isUnset = name === builtinTarget.name && mailto.length === 0;
    for (const user of users) {
      const address = this.#parts.mailOf(user);
      if (address === undefined) this.#parts.log[isUnset ? 'debug' : 'warn'](`'${user}' does not have a configured email address in the user configuration - not sending an email to this user`);
      else to.add(address);
    }
    const nobody = 'no recipients provided for the mail, cannot send it.';
    if (to.size === 0) throw isUnset ? nobodySetUp(nobody) : deliveryError(nobody, { isTemporary: false });
    return { from, author: author ?? `Farshore - ${this.#parts.hostname}`, to: [...to], message };
  }

  async #http(request: Parameters<typeof sendByHttp>[0]): Promise<void> {
    await sendByHttp(request, { proxy: this.#proxy(), limitMs: this.#limitMs, userAgent: this.#parts.userAgent, trusted: this.#parts.trusted });
  }

  #proxy(): HttpProxy | undefined {
    const text = this.#parts.node.load().value.record['http-proxy'];
    try {
      return text === undefined ? undefined : parseHttpProxy(text);
    } catch (e) {
      throw new ConfigError('config.proxy', 'the http-proxy of node.cfg is not understood', { cause: e, hint: 'farshore node update --http-proxy [http://]host:port' });
    }
  }
}
