import { timingSafeEqual } from 'node:crypto';

/** A SHA-256 digest: 32 bytes. Printed as 64 lowercase hex digits (spec formats, Conventions). */
export type Digest = Uint8Array;

export const digestLength = 32;

const digestPattern = /^[0-9a-f]{64}$/;

/** View of `bytes` as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Lowercase hex. */
export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('hex');
}

/** True for exactly 64 lowercase hex digits. */
export function isDigestHex(text: string): boolean {
  return digestPattern.test(text);
}

/** Digest from 64 lowercase hex digits; null for anything else. */
export function parseDigest(text: string): Digest | null {
  return digestPattern.test(text) ? Buffer.from(text, 'hex') : null;
}

/** Equality of content. Not constant time: never for secrets. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && asBuffer(a).equals(b);
}

/** Constant-time equality for secrets; the length is not secret. */
export function secretsEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
