import type { Clock } from '../base/clock.ts';
import { nowSeconds } from '../base/clock.ts';
import { errorChain, errorCode, HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { NotificationEntities } from './entities.ts';
import { Gathering } from './gathering.ts';
import { matchedTargets } from './matching.ts';
import type { MessageTexts, NotificationEvent } from './message.ts';
import { Outbox, type OutboxOptions } from './outbox.ts';
import { legacyTarget, type TargetDelivery } from './target-delivery.ts';

export interface NotifierParts {
  entities: NotificationEntities;
  texts: MessageTexts;
  delivery: Pick<TargetDelivery, 'send'>;
  hostname: string;
  clock: Clock;
  log: ProgressLog;
  outbox?: Pick<OutboxOptions, 'retryDelaysMs' | 'pause' | 'maxWaiting'>;
}

/** How often held messages are looked through. */
const tickMs = 30_000;

/** Tells people: events to messages to targets (spec server 14). Telling never fails the work that it is about. */
export class Notifier {
  readonly #parts: NotifierParts;
  readonly #outbox: Outbox;
  readonly #gathering: Gathering;
  /** Events are told one after another, in their order. */
  #told: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: NotifierParts) {
    this.#parts = parts;
    this.#gathering = new Gathering(parts.clock);
    this.#outbox = new Outbox({ ...parts.outbox, log: parts.log, send: (target, message) => parts.delivery.send(target, message) });
  }

  /** Looks after held messages from now on. Does not keep the process alive. */
  start(): void {
    this.#timer ??= setInterval(() => this.tick(), tickMs).unref();
  }

  /** By the matchers. */
  notify(event: NotificationEvent): void {
    const named = { ...event, fields: { ...event.fields, hostname: this.#parts.hostname } };
    this.#track(named, () => this.#targetsOf(named));
  }

  /** By sendmail to the address of a user, as datastores in mode `legacy-sendmail` have it. A user without address gets nothing. */
  notifyUser(userId: string, event: NotificationEvent): void {
    this.#track(event, () => [legacyTarget(userId)]);
  }

  /** Sends what was held for long enough. */
  tick(): void {
    for (const { target, message } of this.#gathering.due()) this.#outbox.submit(target, message);
  }

  /** Sends a test message to a target, also a disabled one. HttpError 404 when there is none, 500 with the reason when it fails. */
  async test(name: string): Promise<void> {
    if (this.#parts.entities.target(name) === undefined) throw new HttpError(404, `endpoint '${name}' does not exist`);
    const message = await this.#parts.texts.messageOf({ template: 'test', severity: 'info', fields: {}, data: { target: name }, time: nowSeconds(this.#parts.clock), cause: null });
    try {
      await this.#parts.delivery.send(name, message);
    } catch (e) {
      const reason = errorCode(e).startsWith('net.delivery') ? errorChain(e) : `unable to use the configuration: ${errorChain(e)}`;
      throw new HttpError(500, `Could not test target: could not notify via endpoint(s): ${name}: ${reason}`, { cause: e });
    }
  }

  /** Resolves when nothing is on its way; what is held stays held. */
  async idle(): Promise<void> {
    await this.#allTold();
    await this.#outbox.idle();
  }

  /** Sends everything, also what is held, within about `limitMs`; the log tells what was lost. */
  async close(limitMs: number): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#allTold();
    for (const { target, message } of this.#gathering.due(true)) this.#outbox.submit(target, message);
    await this.#outbox.close(limitMs);
  }

  #track(event: NotificationEvent, targetsOf: () => readonly string[]): void {
    this.#told = this.#told
      .then(() => this.#tell(event, targetsOf))
      .catch((e: unknown) => this.#parts.log.error(`unable to notify of '${event.template}': ${errorChain(e)}`));
  }

  async #allTold(): Promise<void> {
    for (let last: Promise<void> | null = null; last !== this.#told; ) {
      last = this.#told;
      await last;
    }
  }

  async #tell(event: NotificationEvent, targetsOf: () => readonly string[]): Promise<void> {
    const targets = targetsOf();
    if (targets.length === 0) return;
    const message = await this.#parts.texts.messageOf(event);
    for (const target of targets) {
      if (event.cause === null || this.#gathering.takes(target, event.cause, message)) this.#outbox.submit(target, message);
    }
  }

  #targetsOf(event: NotificationEvent): string[] {
    const { entities, log } = this.#parts;
    const matched = matchedTargets(entities.matchers(), event, { onBroken: (name, reason) => log.error(`notification matcher '${name}' is left out: ${errorChain(reason)}`) });
    return matched.filter((name) => {
      const target = entities.target(name);
      if (target === undefined) log.error(`notification target '${name}' does not exist`);
      return target !== undefined && (target.record as { disable?: boolean }).disable !== true;
    });
  }
}
