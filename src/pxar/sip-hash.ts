/** A 64-bit number as two unsigned halves. */
export interface Hash64 {
  high: number;
  low: number;
}

/** Order of the numbers. */
export function compareHashes(a: Hash64, b: Hash64): number {
  return a.high - b.high || a.low - b.low;
}

/**
 * SipHash-2-4 with 64 bits of output. Every entry of an archive is hashed, and JavaScript has no fast 64-bit numbers: the four numbers of the state are
 * eight local ones, each in halves, low and high.
 */
export function sipHash24(key0: Hash64, key1: Hash64, bytes: Uint8Array): Hash64 {
  let [aL, aH, bL, bH] = [key0.low ^ 0x70736575, key0.high ^ 0x736f6d65, key1.low ^ 0x6e646f6d, key1.high ^ 0x646f7261];
  let [cL, cH, dL, dH] = [key0.low ^ 0x6e657261, key0.high ^ 0x6c796765, key1.low ^ 0x79746573, key1.high ^ 0x74656462];
  const length = bytes.byteLength;
  const whole = length - (length % 8);
  // Whole words, the last one with the length, then four rounds that end it.
  for (let at = 0; at <= whole + 8; at += 8) {
    let [low, high, rounds] = [0, 0, 2];
    if (at < whole) {
      low = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      high = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    } else if (at === whole) {
      for (let i = at; i < length; i += 1) {
        if (i - at < 4) low |= bytes[i]! << (8 * (i & 3));
        else high |= bytes[i]! << (8 * (i & 3));
      }
      high |= (length & 0xff) << 24;
    } else {
      cL ^= 0xff;
      rounds = 4;
    }
    dL ^= low;
    dH ^= high;
    for (let round = 0; round < rounds; round += 1) {
      let sum = (aL >>> 0) + (bL >>> 0);
      aL = sum | 0;
      aH = (aH + bH + (sum > 0xffffffff ? 1 : 0)) | 0;
      let turned = (bL << 13) | (bH >>> 19);
      bH = ((bH << 13) | (bL >>> 19)) ^ aH;
      bL = turned ^ aL;
      [aL, aH] = [aH, aL];
      sum = (cL >>> 0) + (dL >>> 0);
      cL = sum | 0;
      cH = (cH + dH + (sum > 0xffffffff ? 1 : 0)) | 0;
      turned = (dL << 16) | (dH >>> 16);
      dH = ((dH << 16) | (dL >>> 16)) ^ cH;
      dL = turned ^ cL;
      sum = (aL >>> 0) + (dL >>> 0);
      aL = sum | 0;
      aH = (aH + dH + (sum > 0xffffffff ? 1 : 0)) | 0;
      turned = (dL << 21) | (dH >>> 11);
      dH = ((dH << 21) | (dL >>> 11)) ^ aH;
      dL = turned ^ aL;
      sum = (cL >>> 0) + (bL >>> 0);
      cL = sum | 0;
      cH = (cH + bH + (sum > 0xffffffff ? 1 : 0)) | 0;
      turned = (bL << 17) | (bH >>> 15);
      bH = ((bH << 17) | (bL >>> 15)) ^ cH;
      bL = turned ^ cL;
      [cL, cH] = [cH, cL];
    }
    aL ^= low;
    aH ^= high;
  }
  return { low: (aL ^ bL ^ cL ^ dL) >>> 0, high: (aH ^ bH ^ cH ^ dH) >>> 0 };
}

const nameKey0 = { high: 0x83ac3f1c, low: 0xfbb450db };
const nameKey1 = { high: 0xaa4f1b68, low: 0x79369fbd };

/** Hash of a name in a goodbye table (spec pxar 4.1). */
export function nameHash(name: Uint8Array): Hash64 {
  return sipHash24(nameKey0, nameKey1, name);
}
