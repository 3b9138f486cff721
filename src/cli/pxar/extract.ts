import { readFileSync } from 'node:fs';
import { extractArchive, type ExtractRequest } from '../../archive/extract-archive.ts';
import { AbortedError, ConfigError, errorChain, FormatError, StoreError } from '../../base/errors.ts';
import { abortable } from '../../client/abortable.ts';
import { debugText } from '../../client/debug-text.ts';
import { systemErrorText } from '../../client/system-error-text.ts';
import { MatchPattern } from '../../pxar/match-pattern.ts';
import { leveledLog } from '../../terminal/log-level.ts';
import { errorText } from '../../terminal/program.ts';
import { ArchiveInput } from './archive-input.ts';
import type { PxarIo } from './pxar-io.ts';

export interface PxarExtractRequest extends Pick<ExtractRequest, 'target' | 'allowExistingDirectories' | 'overwrite' | 'features' | 'preludeTarget'> {
  /** Path, or `-`. */
  archive: string;
  payload: string | null;
  /** File with a pattern a line. */
  filesFrom: string | null;
  patterns: readonly string[];
  /** End at the first entry that cannot be extracted. */
  strict: boolean;
}

function pattern(text: string): MatchPattern {
  try {
    return MatchPattern.parse(text, 'include');
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `error in pattern: ${e.message}`);
  }
}

/** Patterns of a file: a line each, without the blanks around it; empty ones and comments are left out. */
function patternsOf(path: string): MatchPattern[] {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (e) {
    throw new ConfigError('config.pattern', `error opening ${JSON.stringify(path)}: ${systemErrorText(e)}`);
  }
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => pattern(Buffer.from(line, 'latin1').toString()));
}

/**
 * `pxar extract` (spec client-cli 10). Trouble with an entry is told, the rest is extracted and the command fails at the end; with `strict` the first one ends it. StoreError
 * `store.target`, `store.source`, ConfigError, AbortedError.
 */
export async function extractPxar(request: PxarExtractRequest, io: PxarIo): Promise<void> {
  const { target, allowExistingDirectories = false, overwrite = {}, features = {}, preludeTarget = null } = request;
  const patterns = [...(request.filesFrom === null ? [] : patternsOf(request.filesFrom)), ...request.patterns.map(pattern)];
  const log = leveledLog(io.stderr, io.logLevel);
  let hasFailed = false;
  await abortable(io.interrupts, async (signal) => {
    log.debug(`PXAR extract: ${request.archive}`);
    await using archive = await ArchiveInput.open(request.archive, io.stdin);
    await using payload = request.payload === null ? null : await ArchiveInput.open(request.payload, io.stdin);
    try {
      await extractArchive({
        archive: archive.stream(),
        ...(payload === null ? {} : { payload: payload.payload() }),
        target,
        patterns,
        allowExistingDirectories,
        overwrite,
        features,
        preludeTarget,
        onError: (error, _step, path) => {
          if (request.strict) throw error;
          hasFailed = true;
          log.error(errorText(new StoreError('store.target', `error at "${debugText(path.length === 0 ? path : Buffer.concat([Buffer.from('/'), path]))}"`, { cause: error }), 'error').trimEnd());
        },
        log,
        signal,
      });
    } catch (e) {
      if (e instanceof AbortedError) throw e;
      throw new StoreError('store.target', `error extracting archive - encountered unexpected error during extraction: ${errorChain(e)}`, e instanceof FormatError && payload === null ? { hint: 'the contents of a split archive are given with --payload-input FILE' } : {});
    }
  });
  if (hasFailed) throw new StoreError('store.target', 'there were errors');
}
