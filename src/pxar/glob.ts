import { FormatError } from '../base/errors.ts';

/** Which bytes an element takes: one of a set. */
type ByteSet = Uint8Array;

type GlobElement =
  | { kind: 'byte'; byte: number }
  | { kind: 'set'; set: ByteSet }
  /** Any run without `/`. */
  | { kind: 'run' }
  /** Any run. */
  | { kind: 'deep-run' }
  /** Nothing, or any run that ends in `/`. */
  | { kind: 'folders' };

const slash = 0x2f;

function patternError(why: string): FormatError {
  return new FormatError('format.pattern', why);
}

const classes: Record<string, (byte: number) => boolean> = {
  alnum: (b) => isAlpha(b) || isDigit(b),
  alpha: isAlpha,
  blank: (b) => b === 0x20 || b === 9,
  cntrl: (b) => b < 0x20 || b === 0x7f,
  digit: isDigit,
  graph: (b) => b > 0x20 && b < 0x7f,
  lower: (b) => b >= 0x61 && b <= 0x7a,
  // As the reference has it, DEL included.
  print: (b) => b >= 0x20 && b <= 0x7f,
  punct: (b) => b > 0x20 && b < 0x7f && !isAlpha(b) && !isDigit(b),
  space: (b) => b === 0x20 || (b >= 9 && b <= 13),
  upper: (b) => b >= 0x41 && b <= 0x5a,
  xdigit: (b) => isDigit(b) || ((b | 0x20) >= 0x61 && (b | 0x20) <= 0x66),
};

function isAlpha(byte: number): boolean {
  return (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** Reads a pattern's bytes. */
class GlobParser {
  readonly #text: Uint8Array;
  #at = 0;
  readonly #elements: GlobElement[] = [];

  constructor(text: Uint8Array) {
    this.#text = text;
  }

  parse(): GlobElement[] {
    while (this.#at < this.#text.length) this.#element();
    return this.#elements;
  }

  #element(): void {
    const byte = this.#text[this.#at]!;
    this.#at += 1;
    if (byte === 0x5c) this.#elements.push({ kind: 'byte', byte: this.#next('ends in a backslash') });
    else if (byte === 0x3f) this.#elements.push({ kind: 'set', set: Uint8Array.from({ length: 256 }, (_, b) => (b === slash ? 0 : 1)) });
    else if (byte === 0x2a) this.#stars();
    else if (byte === 0x5b) this.#elements.push({ kind: 'set', set: this.#class() });
    else this.#elements.push({ kind: 'byte', byte });
  }

  #next(why: string): number {
    const byte = this.#text[this.#at];
    if (byte === undefined) throw patternError(why);
    this.#at += 1;
    return byte;
  }

  #stars(): void {
    const start = this.#at - 1;
    while (this.#text[this.#at] === 0x2a) this.#at += 1;
    const isBounded = (start === 0 || this.#text[start - 1] === slash) && (this.#at === this.#text.length || this.#text[this.#at] === slash);
    if (this.#at - start < 2 || !isBounded) {
      this.#elements.push({ kind: 'run' });
      return;
    }
    if (this.#at === this.#text.length) {
      this.#elements.push({ kind: 'deep-run' });
      return;
    }
    this.#at += 1;
    this.#elements.push({ kind: 'folders' });
  }

  /** Behind `[`, up to and with `]` (spec pxar 7.2). */
  #class(): ByteSet {
    const set = new Uint8Array(256);
    const isNegated = this.#text[this.#at] === 0x5e;
    if (isNegated) this.#at += 1;
    const unclosed = 'has an unclosed [';
    for (let byte = this.#next(unclosed); byte !== 0x5d; byte = this.#next(unclosed)) {
      if (byte === 0x5b && this.#text[this.#at] === 0x3a) {
        this.#namedClass(set);
        continue;
      }
      const low = byte === 0x5c ? this.#next(unclosed) : byte;
      let high = low;
      if (this.#text[this.#at] === 0x2d) {
        this.#at += 1;
        high = this.#next(unclosed);
        if (high === 0x5c) high = this.#next(unclosed);
      }
      set.fill(1, Math.min(low, high), Math.max(low, high) + 1);
    }
    return isNegated ? set.map((is) => 1 - is) : set;
  }

  /** At the colon of `[:name:]`. */
  #namedClass(set: ByteSet): void {
    const rest = Buffer.from(this.#text.subarray(this.#at + 1)).toString('latin1');
    const end = rest.indexOf(':]');
    const name = end === -1 ? '' : rest.slice(0, end);
    const test = Object.hasOwn(classes, name) ? classes[name] : undefined;
    if (test === undefined) throw patternError(`names the unknown character class [:${name}:]`);
    for (let byte = 0; byte < 256; byte += 1) if (test(byte)) set[byte] = 1;
    this.#at += 1 + end + 2;
  }
}

/**
 * A compiled glob of bytes. Matching takes time in proportion to text times pattern whatever they are: all ways to match are followed at the same time.
 */
export class Glob {
  readonly #elements: readonly GlobElement[];
  /** The text, when nothing in the pattern is special. */
  readonly #literal: Buffer | null;

  /** FormatError `format.pattern`, its message to follow the pattern. */
  constructor(pattern: Uint8Array) {
    this.#elements = new GlobParser(pattern).parse();
    const isLiteral = this.#elements.every(({ kind }) => kind === 'byte');
    this.#literal = isLiteral ? Buffer.from(this.#elements.map((element) => (element as { byte: number }).byte)) : null;
  }

  /** Whether the whole text matches; with `anySuffix` also if what follows any `/` in it does. */
  matches(text: Buffer, anySuffix: boolean): boolean {
    return this.#literal === null ? this.#run(text, anySuffix) : isLiteralMatch(this.#literal, text, anySuffix);
  }

  /** States are the places in the pattern that are reached; the step over one byte leads to the next ones. */
  #run(text: Buffer, anySuffix: boolean): boolean {
    const end = this.#elements.length;
    let current = new Uint8Array(end + 1);
    let next = new Uint8Array(end + 1);
    this.#reach(current, 0);
    for (const byte of text) {
      next.fill(0);
      for (let at = 0; at < end; at += 1) if (current[at] !== 0) this.#step(at, byte, next);
      if (anySuffix && byte === slash) this.#reach(next, 0);
      [current, next] = [next, current];
    }
    return current[end] !== 0;
  }

  /** Marks `place`, and what is reached from it without a byte. A `folders` that has begun is marked 2: from there the next place is reached by a slash only. */
  #reach(states: Uint8Array, place: number): void {
    for (let at = place; states[at] !== 1; at += 1) {
      states[at] = 1;
      const kind = this.#elements[at]?.kind;
      if (kind !== 'run' && kind !== 'deep-run' && kind !== 'folders') return;
    }
  }

  #step(at: number, byte: number, next: Uint8Array): void {
    const element = this.#elements[at]!;
    switch (element.kind) {
      case 'byte':
        if (byte === element.byte) this.#reach(next, at + 1);
        return;
      case 'set':
        if (element.set[byte] === 1) this.#reach(next, at + 1);
        return;
      case 'run':
        if (byte !== slash) this.#reach(next, at);
        return;
      case 'deep-run':
        this.#reach(next, at);
        return;
      case 'folders':
        next[at] ||= 2;
        if (byte === slash) this.#reach(next, at + 1);
        break;
    }
  }
}

function isLiteralMatch(literal: Buffer, text: Buffer, anySuffix: boolean): boolean {
  const start = text.length - literal.length;
  if (start < 0 || (start > 0 && (!anySuffix || text[start - 1] !== slash))) return false;
  return text.compare(literal, 0, literal.length, start) === 0;
}
