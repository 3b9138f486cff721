import { ConfigError } from '../base/errors.ts';

/** Longest accepted calendar event or time frame: more than any list of values that people write, little enough to be read at once. */
export const maxCalendarTextLength = 1024;

/** Values that a field allows: index = value, 1 = allowed. */
export type AllowedValues = Uint8Array;

const weekdayNames = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;

function isDigit(char: string | undefined): boolean {
  return char !== undefined && char >= '0' && char <= '9';
}

function isLetter(char: string | undefined): boolean {
  return char !== undefined && ((char >= 'a' && char <= 'z') || (char >= 'A' && char <= 'Z'));
}

/**
 * Reads the small calendar grammars from left to right. A read that fails returns null and notes where and why; the
 * failure that got furthest is the one that is reported, since grammars try alternatives.
 */
export class CalendarText {
  readonly text: string;
  at = 0;
  #failedAt = -1;
  #detail = '';

  constructor(text: string) {
    this.text = text;
  }

  get done(): boolean {
    return this.at >= this.text.length;
  }

  /** Takes `token` if it comes next. */
  take(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  blanks(): void {
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at += 1;
  }

  /** Notes a failure at `at` (default: here). */
  fail(detail: string, at = this.at): null {
    if (at > this.#failedAt) {
      this.#failedAt = at;
      this.#detail = detail;
    }
    return null;
  }

  /** The error for the failure that got furthest. */
  error(what: string, code: string): ConfigError {
    const at = Math.max(this.#failedAt, 0);
    const rest = this.text.length - at > 64 ? `${this.text.slice(at, at + 64)}...` : this.text.slice(at);
    return new ConfigError(code, `unable to parse ${what} at '${rest}' - ${this.#detail}`);
  }

  /** A whole number up to `max`. */
  number(max: number): number | null {
    const start = this.at;
    while (isDigit(this.text[this.at])) this.at += 1;
    if (this.at === start) return this.fail('expected a number');
    const value = Number(this.text.slice(start, this.at));
    return value > max ? this.fail('time value too large', start) : value;
  }

  /** Weekdays at the beginning with the blanks after them; none given = every day. */
  leadingWeekdays(): AllowedValues | null {
    if (!isLetter(this.text[this.at])) return new Uint8Array(7).fill(1);
    const given = this.#weekdays();
    if (given !== null) this.blanks();
    return given;
  }

  /** Weekdays such as `mon..fri,sun`: seven flags, Monday first (spec calendar-events 1.1). */
  #weekdays(): AllowedValues | null {
    const allowed = new Uint8Array(7);
    do {
      const first = this.#weekday();
      if (first === null) return null;
      const last = this.take('..') ? this.#weekday() : first;
      if (last === null) return null;
      // A range may wrap: sat..mon.
      for (let day = first; ; day = (day + 1) % 7) {
        allowed[day] = 1;
        if (day === last) break;
      }
    } while (this.take(','));
    return allowed;
  }

  #weekday(): number | null {
    const start = this.at;
    while (isLetter(this.text[this.at])) this.at += 1;
    const name = this.text.slice(start, this.at).toLowerCase();
    const day = weekdayNames.findIndex((full) => name === full || name === full.slice(0, 3));
    return day >= 0 ? day : this.fail('expected a day of the week', start);
  }
}
