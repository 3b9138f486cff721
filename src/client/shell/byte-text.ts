import { isUtf8 } from 'node:buffer';

/** Where the surrogates for bytes that are no UTF-8 begin. */
const surrogates = 0xdc00;

/**
 * Names are bytes, command lines are text: a byte that belongs to no UTF-8 character becomes a lone surrogate (U+DC80 to U+DCFF), which no text has, so that every
 * name is there and back again.
 */
export function textOfBytes(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return Buffer.from(bytes).toString();
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const piece = bytes.subarray(at, at + length);
    const isCharacter = piece.length === length && isUtf8(piece);
    text += isCharacter ? Buffer.from(piece).toString() : String.fromCharCode(surrogates + first);
    at += isCharacter ? length : 1;
  }
  return text;
}

/** The bytes of a text that `textOfBytes` may have made. */
export function bytesOfText(text: string): Buffer {
  const parts = text.split(/([\udc80-\udcff])/u);
  return Buffer.concat(parts.map((part) => (/^[\udc80-\udcff]$/u.test(part) ? Buffer.of(part.charCodeAt(0) - surrogates) : Buffer.from(part))));
}

/** A byte as a command line names it: `\xFF`. */
export function byteCharacter(byte: number): string {
  return byte < 0x80 ? String.fromCharCode(byte) : String.fromCharCode(surrogates + byte);
}
