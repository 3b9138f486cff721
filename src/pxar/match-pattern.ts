import { asBuffer } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { Glob } from './glob.ts';
import { fileTypeOf, fileTypes } from './entry-metadata.ts';

export type MatchKind = 'include' | 'exclude';

const inverse: Record<MatchKind, MatchKind> = { include: 'exclude', exclude: 'include' };
const slash = 0x2f;

/** A pattern of `--exclude`, `--pattern` or `.pxarexclude` (spec pxar 7). */
export class MatchPattern {
  readonly kind: MatchKind;
  /** The pattern without leading `!` and trailing slashes. */
  readonly text: Buffer;
  readonly directoriesOnly: boolean;
  readonly #anchored: boolean;
  readonly #glob: Glob | null;

  private constructor(kind: MatchKind, text: Buffer, options: { directoriesOnly: boolean; anchored: boolean; glob: Glob | null }) {
    this.kind = kind;
    this.text = text;
    this.directoriesOnly = options.directoriesOnly;
    this.#anchored = options.anchored;
    this.#glob = options.glob;
  }

  /** `kind`: what a pattern without `!` means. Anchored: matches whole paths only. FormatError `format.pattern`. */
  static parse(pattern: string | Uint8Array, kind: MatchKind, options: { anchored?: boolean } = {}): MatchPattern {
    const bytes = typeof pattern === 'string' ? Buffer.from(pattern) : Buffer.from(pattern);
    const isInverted = bytes[0] === 0x21;
    let text = isInverted ? bytes.subarray(1) : bytes;
    const fail = (why: string): never => {
      throw new FormatError('format.pattern', `pattern ${JSON.stringify(bytes.toString())} ${why}`);
    };
    if (bytes.length === 0) fail('is empty');
    if (text.includes(0)) fail('contains a NUL byte');
    const length = text.length;
    while (text.at(-1) === slash) text = text.subarray(0, -1);
    // What is nothing but slashes, or nothing behind `!`, stands for the root: no entry has that path.
    const directoriesOnly = text.length < length || length === 0;
    if (text.length === 0) text = Buffer.of(slash);
    let glob: Glob;
    try {
      glob = new Glob(text);
    } catch (e) {
      return fail(e instanceof FormatError ? e.message : String(e));
    }
    return new MatchPattern(isInverted ? inverse[kind] : kind, text, { directoriesOnly, anchored: options.anchored ?? false, glob });
  }

  /** Matches the very bytes of `path`, of which nothing is special. */
  static literal(path: Uint8Array, kind: MatchKind): MatchPattern {
    return new MatchPattern(kind, Buffer.from(path), { directoriesOnly: false, anchored: false, glob: null });
  }

  /** Its line in `.pxarexclude-cli` (spec pxar 7.6), with the line end. */
  get line(): Buffer {
    const end = this.directoriesOnly && this.text.at(-1) !== slash ? '/\n' : '\n';
    return Buffer.concat([Buffer.from(this.kind === 'include' ? '!' : ''), this.text, Buffer.from(end)]);
  }

  /** The one path from the root that it matches; null when there may be others. */
  get onlyPath(): Buffer | null {
    return this.#glob === null && this.text[0] === slash ? this.text : null;
  }

  /** Whether it matches `/dir/name`, a path from the archive's root; the type does not count here. */
  matchesPath(path: Buffer): boolean {
    if (this.#glob !== null) return this.#glob.matches(path, !this.#anchored);
    const start = path.length - this.text.length;
    if (start < 0 || (start > 0 && path[start - 1] !== slash)) return false;
    return path.compare(this.text, 0, this.text.length, start) === 0;
  }
}

/**
 * What the last matching pattern says about `path`, `/` and names from the archive's root; null when none matches (spec pxar 7.4). `mode` is asked for the first time that a pattern
 * needs the type; null: not known, as for hard links, then patterns for directories do not match.
 */
export function evaluatePatterns(patterns: readonly MatchPattern[], path: Uint8Array, mode: () => number | null): MatchKind | null {
  const bytes = asBuffer(path);
  let isDirectory: boolean | undefined;
  for (let i = patterns.length - 1; i >= 0; i -= 1) {
    const pattern = patterns[i]!;
    if (!pattern.matchesPath(bytes)) continue;
    if (!pattern.directoriesOnly) return pattern.kind;
    isDirectory ??= fileTypeOf(mode() ?? 0) === fileTypes.directory;
    if (isDirectory) return pattern.kind;
  }
  return null;
}
