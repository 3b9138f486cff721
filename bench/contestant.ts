import type { ProcessFigures } from '../test/support/process-meter.ts';

/** What a run of a contestant took. */
export interface Pulled {
  seconds: number;
  /** False: ended by the time limit. */
  finished: boolean;
  /** Of the process that receives, as far as they are to be had. */
  figures: Partial<ProcessFigures>;
}

/** Somebody who copies the source's datastore into one of their own. */
export interface Contestant extends AsyncDisposable {
  /** Port at the source, on this host, that it takes the data from. */
  readonly servicePort: number;
  /** Its datastore. */
  readonly target: string;
  /** One run, through a line that begins at `port`; ended after `limitMs`. Rejects when it fails or `signal` ends it. */
  pull(port: number, limitMs: number, signal: AbortSignal): Promise<Pulled>;
}
