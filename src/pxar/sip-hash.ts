/** A 64-bit number as two unsigned halves. */
export interface Hash64 {
  high: number;
  low: number;
}

/** Order of the numbers. */
export function compareHashes(a: Hash64, b: Hash64): number {
  return a.high - b.high || a.low - b.low;
}

/** The state of SipHash: v0 to v3, low half first. */
class SipState {
  readonly #v = new Int32Array(8);

  constructor(key0: Hash64, key1: Hash64) {
    this.#v.set([key0.low ^ 0x70736575, key0.high ^ 0x736f6d65, key1.low ^ 0x6e646f6d, key1.high ^ 0x646f7261]);
    this.#v.set([key0.low ^ 0x6e657261, key0.high ^ 0x6c796765, key1.low ^ 0x79746573, key1.high ^ 0x74656462], 4);
  }

  absorb(low: number, high: number): void {
    this.#v[6]! ^= low;
    this.#v[7]! ^= high;
    this.#round();
    this.#round();
    this.#v[0]! ^= low;
    this.#v[1]! ^= high;
  }

  finish(): Hash64 {
    const v = this.#v;
    v[4]! ^= 0xff;
    for (let i = 0; i < 4; i += 1) this.#round();
    return { low: (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0, high: (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0 };
  }

  #round(): void {
    this.#mix(0, 2, 13);
    this.#swap(0);
    this.#mix(4, 6, 16);
    this.#mix(0, 6, 21);
    this.#mix(4, 2, 17);
    this.#swap(4);
  }

  /** `a += b; b = rotl(b, by) ^ a` for the numbers at these places; `by` is below 32. */
  #mix(a: number, b: number, by: number): void {
    const v = this.#v;
    const sum = (v[a]! >>> 0) + (v[b]! >>> 0);
    v[a] = sum;
    v[a + 1] = v[a + 1]! + v[b + 1]! + (sum > 0xffffffff ? 1 : 0);
    const [low, high] = [v[b]!, v[b + 1]!];
    v[b] = ((low << by) | (high >>> (32 - by))) ^ v[a];
    v[b + 1] = ((high << by) | (low >>> (32 - by))) ^ v[a + 1]!;
  }

  /** Rotation by 32. */
  #swap(a: number): void {
    const v = this.#v;
    const low = v[a]!;
    v[a] = v[a + 1]!;
    v[a + 1] = low;
  }
}

/** SipHash-2-4 with 64 bits of output. */
export function sipHash24(key0: Hash64, key1: Hash64, bytes: Uint8Array): Hash64 {
  const state = new SipState(key0, key1);
  const word = (at: number): number => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  const whole = bytes.byteLength - (bytes.byteLength % 8);
  for (let at = 0; at < whole; at += 8) state.absorb(word(at), word(at + 4));
  const last = [0, 0];
  for (let at = whole; at < bytes.byteLength; at += 1) last[(at - whole) >> 2]! |= bytes[at]! << (8 * (at & 3));
  last[1]! |= (bytes.byteLength & 0xff) << 24;
  state.absorb(last[0]!, last[1]!);
  return state.finish();
}

const nameKey0 = { high: 0x83ac3f1c, low: 0xfbb450db };
const nameKey1 = { high: 0xaa4f1b68, low: 0x79369fbd };

/** Hash of a name in a goodbye table (spec pxar 4.1). */
export function nameHash(name: Uint8Array): Hash64 {
  return sipHash24(nameKey0, nameKey1, name);
}
