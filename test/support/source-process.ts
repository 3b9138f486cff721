/**
 * A source server in a process of its own. Arguments: folder of its datastore, address to listen on (default 127.0.0.1), folder of its certificate (default: a new one). Prints one line of JSON,
 * `SourceProcessReady`, for each line on stdin one more, `SourceProcessFigures` since the one before, and serves until stdin ends.
 */
import { createInterface } from 'node:readline';
import { ProcessMeter, type ProcessFigures } from './process-meter.ts';
import { startSyncSource } from './sync-source.ts';

export interface SourceProcessReady {
  port: number;
  fingerprint: string;
}

export interface SourceProcessFigures extends ProcessFigures {
  /** Requests to the API; a reader session is one. */
  requests: number;
}

const source = await startSyncSource(process.argv[2]!, process.argv[3], process.argv[4]);
const ready: SourceProcessReady = { port: source.port, fingerprint: source.fingerprint };
console.log(JSON.stringify(ready));
const meter = new ProcessMeter();
createInterface({ input: process.stdin })
  .on('line', () => {
    const figures: SourceProcessFigures = { ...meter.figures(), requests: source.requests.length };
    console.log(JSON.stringify(figures));
    source.requests.length = 0;
    meter.restart();
  })
  .on('close', () => {
    meter.stop();
    void source[Symbol.asyncDispose]();
  });
