import { ConfigError } from '../../base/errors.ts';
import { byteCharacter } from './byte-text.ts';

/** A word of a command line, and where it stands. */
export interface ShellWord {
  text: string;
  start: number;
}

/** Splits a line into words as a shell does: quotes, backslashes, and `\xHH` for a byte outside of quotes. `isOpen`: the line ends within quotes. */
export function shellWords(line: string): { words: ShellWord[]; isOpen: boolean } {
  const words: ShellWord[] = [];
  let word: ShellWord | null = null;
  let quote = '';
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at]!;
    if (quote === '' && /\s/.test(character)) {
      word = null;
      continue;
    }
    if (word === null) {
      word = { text: '', start: at };
      words.push(word);
    }
    if (character === quote) quote = '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character !== '\\' || quote === "'") word.text += character;
    else {
      const byte = quote === '' ? /^x([0-9a-fA-F]{2})/.exec(line.slice(at + 1)) : null;
      if (byte === null) word.text += line[at + 1] ?? '\\';
      else word.text += byteCharacter(Number.parseInt(byte[1]!, 16));
      at += byte === null ? 1 : 3;
    }
  }
  return { words, isOpen: quote !== '' };
}

/** The words of a whole line. ConfigError `config.shell-words` with the reference's text. */
export function splitWords(line: string): string[] {
  const { words, isOpen } = shellWords(line);
  if (isOpen) throw new ConfigError('config.shell-words', 'shellword split failed - found unclosed quote.');
  return words.map(({ text }) => text);
}

/** A name so that `splitWords` gives it back. */
export function escapedWord(text: string): string {
  return text.replaceAll(/[\s"'\\*?[\]]|[\udc80-\udcff]|\p{C}/gu, (character) => {
    const code = character.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`;
    if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
    return `\\${character}`;
  });
}
