import type { LineShape } from '../test/support/delay-proxy.ts';
import type { SourceContent } from './made-source.ts';
import type { Measured } from './result.ts';

const mebibyte = 2 ** 20;

/** What counts in a scenario: bytes, snapshots or files a second, or how soon a run that has nothing to do is over. */
export type Measure = 'bytes' | 'snapshots' | 'files' | 'runs';

/** A pull. */
export interface Scenario extends Measured {
  content: SourceContent;
  line: LineShape | null;
  /** Everything was copied before, without the line; a run that finds nothing new is measured. */
  again: boolean;
  /** Our own engine on one connection with twenty chunks in flight runs, too. */
  oneConnection: boolean;
  /** Who else runs. */
  others: 'all' | 'reference' | 'none';
  /** Whose server is the source. */
  from: 'farshore' | 'reference';
  /** Somebody else's connection carries what it can over the same line, before and meanwhile. */
  neighbour: boolean;
}

/** 75 ms each way, 1 Gbit/s, and the 3 MiB that a connection of a usual Linux has on its way at most. */
export const longLine: LineShape = { delayMs: 75, rate: 125e6, window: 3 * mebibyte };

/** 10 ms each way, 50 Mbit/s. */
const thinLine: LineShape = { delayMs: 10, rate: 50e6 / 8, window: 3 * mebibyte };

export function scenarios(quick: boolean): Scenario[] {
  const large: SourceContent = { kind: 'images', groups: 1, snapshots: 1, chunks: quick ? 24 : 256, compressed: false };
  const tiny: SourceContent = { kind: 'tiny', namespaces: 1, groups: quick ? 10 : 100, snapshots: quick ? 10 : 100 };
  const unchanged: SourceContent = { kind: 'tiny', namespaces: 1, groups: quick ? 20 : 1000, snapshots: 1 };
  const namespaces: SourceContent = { kind: 'tiny', namespaces: 4, groups: quick ? 20 : 200, snapshots: 2 };
  const groups: SourceContent = { kind: 'images', groups: quick ? 10 : 200, snapshots: 1, chunks: 4, compressed: true };
  const some: SourceContent = { kind: 'images', groups: 1, snapshots: 1, chunks: quick ? 4 : 40, compressed: true };
  const few: SourceContent = { kind: 'tiny', namespaces: 1, groups: 30, snapshots: 1 };
  const one = { again: false, oneConnection: false, others: 'all', from: 'farshore', neighbour: false } as const;
  return [
    { name: 'large', title: `${large.chunks * 4} MiB in one image`, content: large, line: null, measure: 'bytes', ...one },
    { name: 'large-delayed', title: 'the same, 75 ms each way', content: large, line: longLine, measure: 'bytes', ...one, oneConnection: true },
    { name: 'small', title: `${tiny.groups * tiny.snapshots} small snapshots`, content: tiny, line: null, measure: 'snapshots', ...one },
    { name: 'small-delayed', title: 'the same, 75 ms each way', content: tiny, line: longLine, measure: 'snapshots', ...one, oneConnection: true },
    { name: 'groups', title: `${groups.groups} groups of 8 MiB, 75 ms each way`, content: groups, line: longLine, measure: 'bytes', ...one, others: 'none' },
    { name: 'thin', title: `${some.chunks * 2} MiB, 10 ms each way, 50 Mbit/s`, content: some, line: thinLine, measure: 'bytes', ...one, others: 'none' },
    { name: 'beside', title: `${large.chunks * 4} MiB, 75 ms each way, beside somebody else's connection`, content: large, line: longLine, measure: 'bytes', ...one, others: 'none', neighbour: true },
    { name: 'beside-thin', title: `${some.chunks * 2} MiB, 10 ms each way, 50 Mbit/s, beside somebody else's connection`, content: some, line: thinLine, measure: 'bytes', ...one, others: 'none', neighbour: true },
    { name: 'unchanged', title: `nothing new in ${unchanged.groups} groups`, content: unchanged, line: longLine, measure: 'runs', ...one, again: true, others: 'reference' },
    { name: 'unchanged-namespaces', title: `nothing new in ${namespaces.groups} groups of ${namespaces.namespaces} namespaces`, content: namespaces, line: longLine, measure: 'runs', ...one, again: true, others: 'none' },
    { name: 'unchanged-from-reference', title: `nothing new in ${few.groups} groups of the reference`, content: few, line: longLine, measure: 'runs', ...one, again: true, others: 'reference', from: 'reference' },
  ];
}
