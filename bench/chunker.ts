import { BuzhashChunker } from '../src/chunking/stream-chunker.ts';
import { noise } from '../test/support/made-snapshots.ts';
import { ProcessMeter } from '../test/support/process-meter.ts';
import type { ClientRun, Measured, ScenarioResult } from './result.ts';

const mebibyte = 2 ** 20;

export function chunkerScenario(quick: boolean): Measured & { bytes: number } {
  const bytes = (quick ? 256 : 2048) * mebibyte;
  return { name: 'chunker', title: `${bytes / mebibyte} MiB that do not compress through the content-defined chunker, one thread`, measure: 'bytes', bytes };
}

/** The rate at which boundaries are found, in pieces of 1 MiB as archives come. */
export function runChunker(scenario: Measured & { bytes: number }): ScenarioResult<Measured, ClientRun> {
  const pieces = Array.from({ length: 64 }, (_, i) => noise(`chunker-${i}`, mebibyte));
  const scan = (bytes: number): void => {
    const chunker = new BuzhashChunker();
    for (let at = 0; at < bytes; at += mebibyte) chunker.push(pieces[(at / mebibyte) % pieces.length]!);
  };
  // So that the compiler has seen it.
  scan(256 * mebibyte);
  const meter = new ProcessMeter();
  const startedMs = performance.now();
  scan(scenario.bytes);
  const seconds = (performance.now() - startedMs) / 1000;
  meter.stop();
  return { scenario, runs: [{ who: 'farshore', seconds, finished: true, rate: scenario.bytes / seconds, oursIsFaster: null, figures: {}, server: null }], missing: [] };
}
