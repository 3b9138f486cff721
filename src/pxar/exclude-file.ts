import { FormatError } from '../base/errors.ts';
import { MatchPattern } from './match-pattern.ts';

/** Patterns for its directory and all below; archived like any file. */
export const excludeFileName = '.pxarexclude';
/** Holds the patterns of the command line; made for the root of unified archives only. */
export const commandLineExcludeFileName = '.pxarexclude-cli';

/**
 * The path without empty and `.` parts, `..` taken with the part before it; a leading and one trailing slash stay
 * (spec pxar 7.5, client-cli 4.1). Bytes as latin1 text.
 */
export function normalizePattern(text: string): string {
  const parts: string[] = [];
  for (const part of text.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const start = text.startsWith('/') ? '/' : '';
  const end = text.endsWith('/') && parts.length > 0 ? '/' : '';
  return `${start}${parts.join('/')}${end}`;
}

/** Patterns of a `.pxarexclude` file, and what is to be warned of. */
export interface ExcludeFilePatterns {
  patterns: MatchPattern[];
  warnings: string[];
}

/** Spaces, tabs, line ends: ASCII only. */
function trimmed(line: string): string {
  return line.replace(/^[ \t\n\f\r]+|[ \t\n\f\r]+$/g, '');
}

/**
 * Reads the content of a `.pxarexclude` in the directory with the path `directory` from the archive's root, without slashes around, empty for the root (spec
 * pxar 7.5). Lines that are no patterns become warnings.
 */
export function parseExcludeFile(content: Uint8Array, directory: Uint8Array): ExcludeFilePatterns {
  const result: ExcludeFilePatterns = { patterns: [], warnings: [] };
  const prefix = directory.byteLength === 0 ? '' : `/${Buffer.from(directory).toString('latin1')}`;
  for (const raw of Buffer.from(content).toString('latin1').split('\n')) {
    const line = trimmed(raw);
    if (line === '' || line.startsWith('#')) continue;
    const isInclude = line.startsWith('!');
    const pattern = isInclude ? line.slice(1) : line;
    const anchored = pattern.startsWith('/');
    const text = anchored ? `${prefix}${pattern}` : pattern;
    const normal = normalizePattern(text);
    const shown = (latin1: string): string => JSON.stringify(Buffer.from(latin1, 'latin1').toString());
    if (normal !== text) result.warnings.push(`pattern ${shown(text)} was normalised to ${shown(normal)}`);
    try {
      result.patterns.push(MatchPattern.parse(Buffer.from(`${isInclude ? '!' : ''}${normal}`, 'latin1'), 'exclude', { anchored }));
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      result.warnings.push(`bad pattern in ${excludeFileName}: ${e.message}`);
    }
  }
  return result;
}
