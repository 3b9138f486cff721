import { FormatError } from '../../base/errors.ts';

const slash = 0x2f;

/** Text as systemd escapes it in names of units: slashes become `-`, what is not a letter, a digit, `:`, `_` or `.` becomes `\xNN`. Colons are escaped too, as the reference does. */
export function escapeUnitName(text: string): string {
  const bytes = Buffer.from(text);
  if (text === '') return '-';
  return [...bytes]
    .map((byte, at) => {
      if (byte === slash) return '-';
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9_]/.test(character) || (character === '.' && at > 0) ? character : `\\x${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

/** The text that was escaped. FormatError `format.unit-name`. */
export function unescapeUnitName(name: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < name.length; at += 1) {
    const character = name[at]!;
    if (character === '-') bytes.push(slash);
    else if (character !== '\\') bytes.push(...Buffer.from(character));
    else {
      const hex = /^x([0-9a-f]{2})/.exec(name.slice(at + 1));
      if (hex === null) throw new FormatError('format.unit-name', `'${name}' is no escaped name`);
      bytes.push(Number.parseInt(hex[1]!, 16));
      at += 3;
    }
  }
  return Buffer.from(bytes).toString();
}
