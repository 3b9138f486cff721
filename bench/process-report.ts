/** Preloaded into a program that is measured: at its end it writes what it needed, `ProcessFigures` as JSON, to the file that `BENCH_REPORT` names. */
import { writeFileSync } from 'node:fs';
import { ProcessMeter } from '../test/support/process-meter.ts';

const file = process.env['BENCH_REPORT'];
if (file !== undefined) {
  const meter = new ProcessMeter();
  process.once('exit', () => writeFileSync(file, JSON.stringify(meter.figures())));
}
