const escapes: Readonly<Record<string, string>> = { '\t': '\\t', '\r': '\\r', '\n': '\\n', '\0': '\\0', '"': '\\"', '\\': '\\\\' };

/** Text, as the reference shows it in quotes. */
function escaped(text: string): string {
  return text.replaceAll(/["\\]|(?! )[\p{C}\p{Z}]/gu, (character) => escapes[character] ?? `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** A path as log lines of the reference show it, without the quotes: what is no UTF-8 byte by byte. */
export function debugText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes);
  const whole = buffer.toString('utf8');
  if (!whole.includes('\u{fffd}')) return escaped(whole);
  let text = '';
  for (let at = 0; at < buffer.length; ) {
    const first = buffer[at]!;
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const piece = buffer.subarray(at, at + length);
    const decoded = piece.toString('utf8');
    const isText = Buffer.from(decoded).equals(piece);
    text += isText ? escaped(decoded) : `\\x${first.toString(16).toUpperCase()}`;
    at += isText ? length : 1;
  }
  return text;
}
