import { FormatError } from '../../base/errors.ts';

export interface TarFile {
  name: string;
  mode: number;
  /** Seconds since the epoch. */
  mtime: number;
  content: Buffer;
}

const blockLength = 512;

/** Regular files of a tar archive (ustar, short names): all that the demo's and the tests' data use; anything else is FormatError. */
export function* tarFiles(archive: Buffer): Generator<TarFile, void, undefined> {
  for (let at = 0; at < archive.length; ) {
    const header = archive.subarray(at, at + blockLength);
    if (header.every((byte) => byte === 0)) return;
    if (header.length < blockLength || header[156] !== 0x30 || header.toString('latin1', 257, 262) !== 'ustar') {
      throw new FormatError('format.tar', `member at ${at} is not a regular file`);
    }
    const size = octal(header, 124, 136);
    at += blockLength;
    yield { name: text(header.subarray(0, 100)).replace(/^\.\//, ''), mode: octal(header, 100, 108), mtime: octal(header, 136, 148), content: archive.subarray(at, at + size) };
    at += Math.ceil(size / blockLength) * blockLength;
  }
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? field.length : end);
}

function octal(header: Buffer, from: number, to: number): number {
  return Number.parseInt(text(header.subarray(from, to)).trim(), 8);
}
