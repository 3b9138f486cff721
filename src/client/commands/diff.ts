import { Type } from 'typebox';
import { ConfigError, FormatError } from '../../base/errors.ts';
import { flag } from '../../config/schemas.ts';
import { archiveKind } from '../../format/backup-path.ts';
import { formatHumanByte } from '../../format/human-byte.ts';
import { keyFingerprintOf, type ManifestFile } from '../../format/manifest.ts';
import { ArchiveAccessor } from '../../pxar/archive-accessor.ts';
import { evaluatePatterns, MatchPattern } from '../../pxar/match-pattern.ts';
import { described, outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { outputFormat } from '../../terminal/output.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotOrGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { changeData, changeLine, JsonArray, rangeLine } from '../diff/change-text.ts';
import { diffImages, type DiffImage } from '../diff/image-diff.ts';
import { TreeDiff, type DiffTree, type TreeChange } from '../diff/tree-diff.ts';
import { openChunks, openSnapshot, requiredFile, treeFiles, type OpenSnapshot } from '../open-snapshot.ts';
import { archiveFileName } from '../restore.ts';
import { keyOptions, namespaceOption, targetOptions } from './options.ts';

const chunkOptions = { ahead: 2, aheadInSequence: true, kept: 8 };

/** Takes what was found, one after another. */
interface ChangeSink {
  add(line: string, data: unknown): void;
  end(): void;
}

function changeSink(context: ClientContext, given: Parameters): ChangeSink {
  const format = outputFormat(given['output-format'], context.output);
  if (format === 'text') return { add: (line) => context.stdout.write(`${line}\n`), end: () => {} };
  const array = new JsonArray((text) => context.stdout.write(text), format === 'json-pretty');
  return { add: (_line, data) => array.add(data), end: () => array.end() };
}

function givenPatterns(given: Parameters): MatchPattern[] {
  const text = given['pattern'] as string | undefined;
  if (text === undefined) return [];
  try {
    return [MatchPattern.parse(text, 'include')];
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `error parsing match pattern: ${e.message}`);
  }
}

/** Digests tell of each other when both are plain, or made with the same key. */
function isComparable(a: [OpenSnapshot, ManifestFile], b: [OpenSnapshot, ManifestFile]): boolean {
  const key = ([{ manifest }, file]: [OpenSnapshot, ManifestFile]): string => (file.cryptMode === 'encrypt' ? (keyFingerprintOf(manifest)?.toString('hex') ?? 'unknown') : '');
  return key(a) === key(b);
}

async function openImage(snapshot: OpenSnapshot, file: ManifestFile): Promise<DiffImage> {
  const { index, chunks } = await openChunks(snapshot, 'fixed', file, chunkOptions);
  return { index, readAt: chunks.readAt };
}

async function openDiffTree(snapshot: OpenSnapshot, fileName: string): Promise<{ tree: DiffTree; file: ManifestFile }> {
  const files = treeFiles(snapshot.manifest, fileName);
  const { index, chunks } = await openChunks(snapshot, 'dynamic', files.archive, chunkOptions);
  const payload = files.payload === null ? null : await openChunks(snapshot, 'dynamic', files.payload, chunkOptions);
  const archive = new ArchiveAccessor(chunks.readAt, chunks.length, payload === null ? null : { readAt: payload.chunks.readAt, length: payload.chunks.length });
  return { tree: { archive, index, payloadIndex: payload?.index ?? null }, file: files.archive };
}

interface Comparison {
  a: OpenSnapshot;
  b: OpenSnapshot;
  fileName: string;
  compareContent: boolean;
  patterns: readonly MatchPattern[];
  sink: ChangeSink;
  signal: AbortSignal;
}

async function compareImages({ a, b, fileName, compareContent, sink }: Comparison): Promise<string> {
  const [one, other] = [requiredFile(a.manifest, fileName), requiredFile(b.manifest, fileName)];
  const [imageA, imageB] = [await openImage(a, one), await openImage(b, other)];
  let [count, bytes] = [0, 0];
  for await (const range of diffImages(imageA, imageB, { compareContent, isComparable: isComparable([a, one], [b, other]) })) {
    sink.add(rangeLine(range), range);
    count += 1;
    bytes += range.length;
  }
  return `${count} ranges with ${formatHumanByte(bytes)} differ, of ${formatHumanByte(imageA.index.size)} and ${formatHumanByte(imageB.index.size)}`;
}

function isWanted(change: TreeChange, patterns: readonly MatchPattern[]): boolean {
  if (patterns.length === 0) return true;
  const entry = change.change === 'changed' ? change.after : change.entry;
  return evaluatePatterns(patterns, Buffer.concat([Buffer.from('/'), change.path]), () => (entry.type === 'hardlink' ? null : entry.metadata.mode)) === 'include';
}

async function compareTrees(comparison: Comparison): Promise<string> {
  const { a, b, fileName, compareContent, patterns, sink, signal } = comparison;
  const [one, other] = [await openDiffTree(a, fileName), await openDiffTree(b, fileName)];
  const counts = { added: 0, removed: 0, changed: 0 };
  const diff = new TreeDiff(one.tree, other.tree, { compareContent, isComparable: isComparable([a, one.file], [b, other.file]), signal });
  for await (const change of diff.changes()) {
    if (!isWanted(change, patterns)) continue;
    counts[change.change] += 1;
    sink.add(changeLine(change), changeData(change));
  }
  return `${counts.added} added, ${counts.removed} removed, ${counts.changed} changed`;
}

const diff: ClientCommand = {
  words: ['diff'],
  description: 'Show what is different between two snapshots of any groups: of a directory tree entries (A added, D removed, M changed), of an image ranges of bytes. The exit code is 0 also when there are differences.',
  parameters: parameters(
    {
      'snapshot-a': Type.String({ description: 'Group/Snapshot path of the first.' }),
      'snapshot-b': Type.String({ description: 'Group/Snapshot path of the second.' }),
      'archive-name': Type.String({ description: 'Backup archive name.' }),
    },
    {
      ...targetOptions,
      ...keyOptions,
      ...outputFormatOption,
      'compare-content': flag('Read what has the same size and time and other chunks; of images read chunks that differ.', { default: false }),
      'ns-b': described(namespaceOption['ns']!, 'Namespace of the second; default: that of the first.'),
      pattern: Type.String({ description: 'Only paths that this match pattern includes.' }),
    },
  ),
  positional: ['snapshot-a', 'snapshot-b', 'archive-name', 'pattern'],
  run: async (context, given) => {
    const fileName = archiveFileName(given['archive-name'] as string);
    const kind = archiveKind(fileName);
    if (kind === 'blob' || (kind === 'dynamic' && !/\.[mp]?pxar\.didx$/.test(fileName))) throw new ConfigError('config.archive-name', `'${fileName}' is neither a directory tree nor an image`);
    const [textA, textB] = [given['snapshot-a'] as string, given['snapshot-b'] as string];
    for (const text of [textA, textB]) parseSnapshotOrGroupPath(text);
    const patterns = givenPatterns(given);
    const sink = changeSink(context, given);
    await abortable(context.interrupts, async (signal) => {
      using a = await openSnapshot(context, { ...given, snapshot: textA }, signal);
      using b = await openSnapshot(context, { ...given, snapshot: textB, ...(given['ns-b'] === undefined ? {} : { ns: given['ns-b'] }) }, signal);
      const comparison = { a, b, fileName, compareContent: given['compare-content'] === true, patterns, sink, signal };
      const summary = await (kind === 'fixed' ? compareImages(comparison) : compareTrees(comparison));
      sink.end();
      context.stderr.write(`${summary}\n`);
    });
  },
};

export const diffCommands: readonly ClientCommand[] = [diff];
