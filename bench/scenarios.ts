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
}

/** 75 ms each way, 1 Gbit/s, and the 3 MiB that a connection of a usual Linux has on its way at most. */
const longLine: LineShape = { delayMs: 75, rate: 125e6, window: 3 * mebibyte };

export function scenarios(quick: boolean): Scenario[] {
  const large: SourceContent = { kind: 'images', groups: 1, snapshots: 1, chunks: quick ? 24 : 256, compressed: false };
  const tiny: SourceContent = { kind: 'tiny', namespaces: 1, groups: quick ? 10 : 100, snapshots: quick ? 10 : 100 };
  const unchanged: SourceContent = { kind: 'tiny', namespaces: 4, groups: quick ? 20 : 200, snapshots: 2 };
  const one = { again: false, oneConnection: false };
  return [
    { name: 'large', title: `${large.chunks * 4} MiB in one image`, content: large, line: null, measure: 'bytes', ...one },
    { name: 'large-delayed', title: 'the same, 75 ms each way', content: large, line: longLine, measure: 'bytes', ...one, oneConnection: true },
    { name: 'small', title: `${tiny.groups * tiny.snapshots} small snapshots`, content: tiny, line: null, measure: 'snapshots', ...one },
    { name: 'small-delayed', title: 'the same, 75 ms each way', content: tiny, line: longLine, measure: 'snapshots', ...one, oneConnection: true },
    { name: 'unchanged', title: `nothing new in ${unchanged.groups} groups`, content: unchanged, line: longLine, measure: 'runs', again: true, oneConnection: false },
  ];
}
