import QRCode from 'qrcode';
import { asBuffer } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { parseKeyFile, serializeKeyFile } from './key-file.ts';

/** Lines of a PEM key in one block with its own QR code (spec formats 6.3). */
const textBlockLines = 5;
const htmlBlockLines = 20;
const minPemLines = 20;
/** A PEM key of 16384 bits has some 13,000 characters. */
const maxInputLength = 32 * 1024;

const pemLabels = ['ENCRYPTED PRIVATE KEY', 'RSA PRIVATE KEY'];

export interface PaperKeyOptions {
  format: 'html' | 'text';
  subject?: string | undefined;
}

/** Dark modules by row and column. */
interface Modules {
  size: number;
  dark: (row: number, column: number) => boolean;
}

/** Error correction M, no quiet zone, as the reference's. */
function qrModules(text: string): Modules {
  const { modules } = QRCode.create(text, { errorCorrectionLevel: 'M' });
  return { size: modules.size, dark: (row, column) => row < modules.size && modules.get(row, column) !== 0 };
}

/** Two rows of modules a line in half blocks, dark modules drawn. */
function qrText(text: string): string {
  const { size, dark } = qrModules(text);
  let drawn = '';
  for (let row = 0; row < size; row += 2) {
    for (let column = 0; column < size; column += 1) {
      const [upper, lower] = [dark(row, column), dark(row + 1, column)];
      if (upper) drawn += lower ? '█' : '▀';
      else drawn += lower ? '▄' : ' ';
    }
    drawn += '\n';
  }
  return drawn;
}

function qrSvg(text: string): string {
  const { size, dark } = qrModules(text);
  let path = '';
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) if (dark(row, column)) path += `M${column} ${row}h1v1h-1z`;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><rect width="${size}" height="${size}" fill="#fff"/><path d="${path}" fill="#000"/></svg>\n`;
}

function blocks(lines: string[], size: number): string[][] {
  return Array.from({ length: Math.ceil(lines.length / size) }, (_, i) => lines.slice(i * size, (i + 1) * size));
}

/** Lines of a PEM private key; null when the input is something else. */
function pemLines(text: string): string[] | null {
  const label = pemLabels.find((candidate) => text.startsWith(`-----BEGIN ${candidate}-----`));
  if (label === undefined) return null;
  const lines = text.split('\n').map((line) => line.trimEnd()).filter((line) => line !== '');
  if (lines.at(-1) !== `-----END ${label}-----`) throw new FormatError('format.paper-key', 'unexpected key format: the END line is missing');
  if (lines.length < minPemLines) throw new FormatError('format.paper-key', `unexpected key format: only ${lines.length} lines`);
  return lines;
}

function textPaper(key: string[] | null, pem: string[] | null, subject: string | undefined): string {
  const head = subject === undefined ? '' : `Subject: ${subject}\n\n`;
  if (key !== null) {
    return `${head}-----BEGIN PROXMOX BACKUP KEY-----\n${key.join('\n')}\n-----END PROXMOX BACKUP KEY-----\n${qrText(key.join('\n'))}\n`;
  }
  const pages = blocks(pem!, textBlockLines).map((block, i) => {
    const numbered = block.map((line, j) => `${String(i * textBlockLines + j).padStart(2)}: ${line}\n`).join('');
    return `${numbered}${qrText(block.join('\n'))}\n\f\n`;
  });
  return head + pages.join('');
}

function image(text: string): string[] {
  const svg = Buffer.from(qrSvg(text), 'utf8').toString('base64').replace(/=+$/, '');
  return ['<center>', '<img', 'width="500pt" height="500pt"', `src="data:image/svg+xml;base64,${svg}"/>`, '</center>'];
}

function htmlPaper(key: string[] | null, pem: string[] | null, subject: string | undefined): string {
  const body =
    key !== null
      ? ['<div style="page-break-inside: avoid">', '<p>', '-----BEGIN PROXMOX BACKUP KEY-----', ...key.map(escapeHtml), '-----END PROXMOX BACKUP KEY-----', '</p>', ...image(key.join('\n')), '</div>']
      : blocks(pem!, htmlBlockLines).flatMap((block, i) => [
          '<div style="page-break-inside: avoid;page-break-after: always">',
          '<p>',
          ...block.map((line, j) => `${String(i * htmlBlockLines + j).padStart(2, '0')}: ${escapeHtml(line)}`),
          '</p>',
          ...image(block.join('\n')),
          '</div>',
        ]);
  const lines = [
    '<!DOCTYPE html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1.0">',
    '<title>Proxmox Backup Paperkey</title>',
    '<style type="text/css">',
    '  p {',
    '    font-size: 12pt;',
    '    font-family: monospace;',
    '    white-space: pre-wrap;',
    '    line-break: anywhere;',
    '  }',
    '</style>',
    '</head>',
    '<body>',
    ...(subject === undefined ? [] : [`<p>Subject: ${escapeHtml(subject)}</p>`]),
    ...body,
    '</body>',
    '</html>',
  ];
  return `${lines.join('\n')}\n`;
}

/** Unlike the reference, which lets markup of a subject or hint through (spec formats 6.3). */
function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/**
 * Printable page of a key file or of a PEM private (master) key, with QR codes (spec formats 6.3). The QR codes hold the same text as the
 * reference's; the pattern may differ, since the choice of mask and segments is left to the encoder. FormatError `format.paper-key` and those of `parseKeyFile`.
 */
export function paperKey(input: Uint8Array, options: PaperKeyOptions): string {
  if (input.byteLength > maxInputLength) throw new FormatError('format.paper-key', 'the key file is too large');
  const text = asBuffer(input).toString('utf8');
  const pem = pemLines(text);
  const key = pem === null ? serializeKeyFile(parseKeyFile(input), 'pretty').split('\n') : null;
  return options.format === 'text' ? textPaper(key, pem, options.subject) : htmlPaper(key, pem, options.subject);
}
