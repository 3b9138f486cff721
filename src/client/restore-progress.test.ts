import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { RestoreProgress } from './restore-progress.ts';

const mebibyte = 1024 * 1024;

/** Restores `total` bytes, one MiB every `gapMs`. */
function restored(total: number, pieces: number, gapMs: number, drawsProgress = false): string {
  const clock = new ManualClock('2026-01-01T00:00:00Z');
  let text = '';
  const progress = new RestoreProgress(total, { stderr: { write: (piece) => void (text += piece) }, drawsProgress, width: 60, clock });
  for (let done = 0; done < pieces; done += 1) {
    clock.ms += gapMs;
    progress.advance(mebibyte);
  }
  progress.complete();
  return text;
}

test('lines as the reference has them: after 5 s, then ever more seldom', () => {
  assert.equal(
    restored(50 * mebibyte, 50, 1000),
    'progress 10% (5 MiB of 50 MiB in 5s, 1 MiB/s)\nprogress 30% (15 MiB of 50 MiB in 15s, 1 MiB/s)\nprogress 70% (35 MiB of 50 MiB in 35s, 1 MiB/s)\nrestore complete (50 MiB processed in 50s, average 1 MiB/s)\n',
  );
  assert.equal(restored(0, 6, 1000), 'processed 5 MiB in 5s, 1 MiB/s\nrestore complete (6 MiB processed in 6s, average 1 MiB/s)\n');
  assert.equal(restored(mebibyte, 1, 0), 'restore complete (1 MiB processed in <0.1s, average 1000 MiB/s)\n');
});

test('at least one line a minute', () => {
  const seconds = restored(2000 * mebibyte, 600, 1000).match(/ in (?:\d+m )?(?:\d+s|\d+m),/g)!;
  assert.ok(seconds.length >= 12, seconds.join(' '));
});

test('a live line on a terminal, with rate and time left, gone at the end', () => {
  const text = restored(50 * mebibyte, 50, 100, true);
  assert.ok(text.includes('\r\u001b[K40.0% (20 MiB of 50 MiB), 10 MiB/s, 3s left\r'));
  assert.ok(text.endsWith('\r\u001b[Krestore complete (50 MiB processed in 5s, average 10 MiB/s)\n'));
  for (const line of text.split('\r')) assert.ok(line.replace('\u001b[K', '').trimEnd().length < 100);
});
