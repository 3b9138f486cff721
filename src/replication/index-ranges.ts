import assert from 'node:assert/strict';

/** Chunks whose sizes one request asks for: a stat of a file each for the peer. */
export const maxSizedChunks = 4096;
/** So that the query stays below what servers take in a line. */
const maxRanges = 250;

/** Ascending positions as texts `0-99,107`, each for one request. */
export function* rangeTexts(positions: readonly number[]): Generator<{ text: string; count: number }, void> {
  let ranges: string[] = [];
  let count = 0;
  for (let i = 0; i < positions.length; ) {
    const first = positions[i]!;
    let last = first;
    for (i += 1; i < positions.length && positions[i] === last + 1 && count + (last - first) + 2 <= maxSizedChunks; i += 1) last += 1;
    assert.ok(i === positions.length || positions[i]! > last, 'positions ascend');
    ranges.push(first === last ? String(first) : `${first}-${last}`);
    count += last - first + 1;
    if (ranges.length < maxRanges && count < maxSizedChunks && i < positions.length) continue;
    yield { text: ranges.join(','), count };
    ranges = [];
    count = 0;
  }
}

/** The positions of such a text; null when they do not ascend or are more than `maxSizedChunks`. */
export function parseRanges(text: string): number[] | null {
  const positions: number[] = [];
  for (const range of text.split(',')) {
    const [first = NaN, last = first] = range.split('-').map(Number);
    if (!(first > (positions.at(-1) ?? -1)) || !(last >= first) || positions.length + (last - first) + 1 > maxSizedChunks) return null;
    for (let position = first; position <= last; position += 1) positions.push(position);
  }
  return positions;
}
