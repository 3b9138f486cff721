import type { Clock } from '../base/clock.ts';
import { htmlOfText, type Message } from './message.ts';
import { wallTime } from './template-helpers.ts';

/** How long what has the same cause is held back after it was told: the first time, and at most. Each time it still goes on, twice as long. */
const firstWindowMs = 15 * 60_000;
const longestWindowMs = 4 * 3600_000;
/** Causes that are remembered; beyond that every message is sent for itself. */
const maxCauses = 1000;
/** Different titles that are named. */
const maxTitles = 50;

interface Trouble {
  target: string;
  windowMs: number;
  endsAtMs: number;
  /** Since the last message that was sent. */
  held: number;
  since: number;
  last: Message | null;
  titles: Map<string, number>;
}

/** One message for many with the same cause, so that one broken disk does not send a thousand mails: the first is sent at once, what follows is counted. */
export class Gathering {
  readonly #clock: Clock;
  readonly #troubles = new Map<string, Trouble>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when the message is to be sent now; otherwise it is held and comes with others from `due`. */
  takes(target: string, cause: string, message: Message): boolean {
    const key = `${target}\n${cause}`;
    const trouble = this.#troubles.get(key);
    if (trouble === undefined) {
      if (this.#troubles.size < maxCauses) this.#troubles.set(key, { target, windowMs: firstWindowMs, endsAtMs: this.#clock.now() + firstWindowMs, held: 0, since: 0, last: null, titles: new Map() });
      return true;
    }
    if (trouble.held === 0) trouble.since = message.time;
    trouble.held += 1;
    trouble.last = message;
    if (trouble.titles.has(message.title) || trouble.titles.size < maxTitles) trouble.titles.set(message.title, (trouble.titles.get(message.title) ?? 0) + 1);
    return false;
  }

  /** Messages whose time has come; with `all` every one that is held. */
  due(all = false): Array<{ target: string; message: Message }> {
    const now = this.#clock.now();
    const found: Array<{ target: string; message: Message }> = [];
    for (const [key, trouble] of this.#troubles) {
      // A clock that was set back must not hold messages for longer than the window.
      if (trouble.endsAtMs - now > trouble.windowMs) trouble.endsAtMs = now + trouble.windowMs;
      if (!all && now < trouble.endsAtMs) continue;
      if (trouble.last === null) {
        this.#troubles.delete(key);
        continue;
      }
      found.push({ target: trouble.target, message: gathered(trouble, trouble.last) });
      const windowMs = Math.min(2 * trouble.windowMs, longestWindowMs);
      this.#troubles.set(key, { ...trouble, windowMs, endsAtMs: now + windowMs, held: 0, last: null, titles: new Map() });
    }
    return found;
  }
}

function gathered({ held, since, titles }: Trouble, last: Message): Message {
  if (held === 1) return last;
  const named = [...titles].map(([title, count]) => `  ${count} x ${title}`).join('\n');
  const more = [...titles.values()].reduce((sum, count) => sum - count, held);
  const text = `The same happened ${held} more times from ${wallTime(since)} to ${wallTime(last.time)}:\n\n${named}\n${more > 0 ? `  ${more} x others\n` : ''}\nThe last one:\n\n${last.text}`;
  return { ...last, title: `${last.title} (${held} times)`, text, html: htmlOfText(text) };
}
