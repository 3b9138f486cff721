import fc from 'fast-check';

/** One change of a file; positions are fractions of its length so that they make sense for every seed. */
type Mutation =
  | { kind: 'flip'; at: number; mask: number }
  | { kind: 'set'; at: number; value: number }
  | { kind: 'u64'; at: number; value: bigint }
  | { kind: 'cut'; at: number; length: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'copy'; from: number; to: number; length: number }
  | { kind: 'truncate'; at: number };

const fraction = fc.double({ min: 0, max: 1, noNaN: true });
/** The start of a file holds its structure: half of all changes go there. */
const place = fc.oneof(fraction, fraction.map((value) => value / 50));
const interesting = fc.constantFrom(0n, 1n, 2n, 255n, 256n, 4095n, 4096n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n);

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, mask: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('set' as const), at: place, value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x22, 0x2c, 0x5c, 0x7b, 0x2f, 0x2e) }),
  fc.record({ kind: fc.constant('u64' as const), at: place, value: interesting }),
  fc.record({ kind: fc.constant('cut' as const), at: place, length: fc.integer({ min: 1, max: 64 }) }),
  fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 48 }) }),
  fc.record({ kind: fc.constant('copy' as const), from: place, to: place, length: fc.integer({ min: 1, max: 256 }) }),
  fc.record({ kind: fc.constant('truncate' as const), at: fraction }),
);

function apply(bytes: Buffer, change: Mutation): Buffer {
  const offset = (value: number): number => Math.min(Math.floor(value * bytes.length), Math.max(0, bytes.length - 1));
  if (bytes.length === 0) return bytes;
  switch (change.kind) {
    case 'flip':
      bytes[offset(change.at)]! ^= change.mask;
      return bytes;
    case 'set':
      bytes[offset(change.at)] = change.value;
      return bytes;
    case 'u64':
      if (bytes.length >= 8) bytes.writeBigUInt64LE(change.value, Math.min(offset(change.at), bytes.length - 8));
      return bytes;
    case 'cut':
      return Buffer.concat([bytes.subarray(0, offset(change.at)), bytes.subarray(offset(change.at) + change.length)]);
    case 'insert':
      return Buffer.concat([bytes.subarray(0, offset(change.at)), change.bytes, bytes.subarray(offset(change.at))]);
    case 'copy':
      bytes.copyWithin(offset(change.to), offset(change.from), offset(change.from) + change.length);
      return bytes;
    case 'truncate':
      break;
  }
  return bytes.subarray(0, offset(change.at));
}

/** Files made from one of `seeds` by one to four changes, or of random bytes. */
export function mutated(seeds: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const changed = fc
    .tuple(fc.nat(seeds.length - 1), fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([pick, changes]) => {
      let bytes: Buffer = Buffer.from(seeds[pick]!);
      for (const change of changes) bytes = apply(bytes, change);
      return bytes;
    });
  const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  return fc.oneof({ weight: 30, arbitrary: changed }, { weight: 1, arbitrary: noise });
}
