import { constants, fstatSync, readFileSync } from 'node:fs';
import { errorCode, FormatError, toError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { commandLineExcludeFileName, excludeFileName, parseExcludeFile } from '../pxar/exclude-file.ts';
import { evaluatePatterns, type MatchPattern } from '../pxar/match-pattern.ts';
import { readDirectoryNames } from '../sys/directory-names.ts';
import { closeEntry, openEntry, statEntry, type EntryStat } from '../sys/entry-calls.ts';
import type { WalkedEntry } from '../sys/walk-ahead.ts';
import { joinPath, shownPath } from './shown-path.ts';
import { reasonToPassOver, sourceError } from './source-node.ts';

/** A list of patterns, nothing more. */
const maxExcludeFile = 16 * 1024 * 1024;

/** An entry that is to be archived. */
export interface ListedEntry {
  name: Buffer;
  stat: EntryStat;
  /** What the walk ahead knows of a file without attributes: its flags. */
  flags?: number | null;
  /** What the walk ahead knows a directory by. */
  directory?: number | null;
}

const excludeName = Buffer.from(excludeFileName);
const commandLineExcludeName = Buffer.from(commandLineExcludeFileName);
const slash = Buffer.of(0x2f);
const silentErrors = new Set(['ENOENT', 'EACCES', 'ENOTDIR']);

/** Patterns of the directory's `.pxarexclude`; none when there is none or it cannot be read as a whole (spec pxar 7.5). */
export function readExcludeFile(directory: number, path: Buffer, log: ProgressLog): MatchPattern[] {
  let fd: number;
  try {
    // A link may lead to it; a fifo must not hold us up.
    fd = openEntry(directory, excludeName, constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (e) {
    if (silentErrors.has(errorCode(e))) return [];
    throw sourceError(joinPath(path, excludeName), e);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > maxExcludeFile) throw new FormatError('format.pattern', 'it is not a file of patterns');
    const { patterns, warnings } = parseExcludeFile(readFileSync(fd), path);
    for (const warning of warnings) log.warn(warning);
    return patterns;
  } catch (e) {
    log.warn(`ignoring all patterns of ${shownPath(joinPath(path, excludeName))}: ${toError(e).message}`);
    return [];
  } finally {
    closeEntry(fd);
  }
}

/**
 * Entries of the open directory with the path `path`, which is listed once, without those that the patterns exclude, sorted by the bytes of their names (spec pxar 5.3). What cannot be looked at
 * is warned of and left out. Throws StoreError `store.source`.
 */
export function listDirectory(directory: number, path: Buffer, patterns: readonly MatchPattern[], log: ProgressLog): ListedEntry[] {
  const entries: ListedEntry[] = [];
  for (const name of readNames(directory, path)) {
    if (path.length === 0 && name.equals(commandLineExcludeName)) continue;
    const entry = listedEntry(directory, path, name, patterns, log);
    if (entry !== null) entries.push(entry);
  }
  return entries.sort((a, b) => Buffer.compare(a.name, b.name));
}

/** The same of what the walk ahead found, where there are no patterns: what it could not look at is asked again. */
export function listWalked(directory: number, path: Buffer, walked: readonly WalkedEntry[], log: ProgressLog): ListedEntry[] {
  const entries: ListedEntry[] = [];
  for (const { name, stat, flags, directory: number } of walked) {
    if (path.length === 0 && name.equals(commandLineExcludeName)) continue;
    const entry = stat === null ? listedEntry(directory, path, name, [], log) : { name, stat, flags, directory: number };
    if (entry !== null) entries.push(entry);
  }
  return entries;
}

function readNames(directory: number, path: Buffer): Buffer[] {
  try {
    return readDirectoryNames(directory);
  } catch (e) {
    throw sourceError(path, e);
  }
}

function listedEntry(directory: number, folder: Buffer, name: Buffer, patterns: readonly MatchPattern[], log: ProgressLog): ListedEntry | null {
  let stat: EntryStat | undefined;
  try {
    const mode = (): number => (stat ??= statEntry(directory, name)).mode;
    if (patterns.length > 0 && evaluatePatterns(patterns, Buffer.concat([slash, joinPath(folder, name)]), mode) === 'exclude') return null;
    return { name, stat: (stat ??= statEntry(directory, name)) };
  } catch (e) {
    const reason = reasonToPassOver(e);
    const path = joinPath(folder, name);
    if (reason === null) throw sourceError(path, e);
    log.warn(`skipping ${shownPath(path)}: ${reason}`);
    return null;
  }
}
