import { stat } from 'node:fs/promises';
import { ConfigError, errorCode, FormatError } from '../../base/errors.ts';
import { quotedPath } from '../../datastore/store-error.ts';
import { normalizePattern } from '../../pxar/exclude-file.ts';
import { MatchPattern } from '../../pxar/match-pattern.ts';
import type { Parameters } from '../../terminal/command.ts';
import type { TextSink } from '../../terminal/output.ts';
import { systemErrorText } from '../system-error-text.ts';
import type { TreeOptions } from './parts.ts';

const sanitized = "Sanitized exclude pattern. Exclude patterns are relative to backup root, not the current working directory and should not contain '.' or '..' as path segments.\n";

function excludePattern(text: string, stderr: TextSink): MatchPattern | null {
  const isInverted = text.startsWith('!');
  const bytes = Buffer.from(isInverted ? text.slice(1) : text).toString('latin1');
  const normal = normalizePattern(bytes);
  if (normal !== bytes) stderr.write(sanitized);
  // Nothing has no path.
  if (normal === '') return null;
  try {
    return MatchPattern.parse(Buffer.from(`${isInverted ? '!' : ''}${normal}`, 'latin1'), 'exclude');
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `invalid exclude pattern entry: ${e.message}`);
  }
}

async function deviceOf(path: string): Promise<bigint> {
  try {
    return (await stat(path, { bigint: true })).dev;
  } catch (e) {
    throw new ConfigError('config.source', `fstat ${quotedPath(path)} failed - ${errorCode(e)}: ${systemErrorText(e).replace(/ \(os error [0-9]+\)$/, '')}`);
  }
}

/** From the options of `backup` (spec client-cli 4.1). ConfigError with the reference's text. */
export async function treeOptions(given: Parameters, stderr: TextSink): Promise<TreeOptions> {
  const included = (given['include-dev'] as string[] | undefined) ?? [];
  const takesAll = given['all-file-systems'] === true;
  if (takesAll && included.length > 0) throw new ConfigError('config.options', "option 'all-file-systems' conflicts with option 'include-dev'");
  return {
    mode: (given['change-detection-mode'] as TreeOptions['mode'] | undefined) ?? 'legacy',
    patterns: ((given['exclude'] as string[] | undefined) ?? []).map((text) => excludePattern(text, stderr)).filter((pattern) => pattern !== null),
    devices: takesAll ? 'all' : await Promise.all(included.map((path) => deviceOf(path))),
    skipLostAndFound: given['skip-lost-and-found'] === true,
    skipTooLargeXattrs: given['skip-e2big-xattr'] === true,
    entriesMax: (given['entries-max'] as number | undefined) ?? 1_048_576,
  };
}
