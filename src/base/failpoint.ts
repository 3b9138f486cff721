import { FarshoreError } from './errors.ts';

/**
 * Named places where a test can make the process fail. Armed only by the composition root (`FARSHORE_FAILPOINT`)
 * or by a test in the same process; when nothing is armed a failpoint costs one comparison.
 */
export type FailpointAction = 'error' | 'kill';

interface Armed {
  action: FailpointAction;
  /** Fires at this pass (1 = the next one). */
  countdown: number;
}

const armed = new Map<string, Armed>();

/** Arms `name`: the `pass`-th time that it is reached it throws, or kills the process at once (SIGKILL, nothing is cleaned up). */
export function armFailpoint(name: string, action: FailpointAction, pass = 1): void {
  armed.set(name, { action, countdown: pass });
}

export function disarmFailpoints(): void {
  armed.clear();
}

/** Arms from text `name=action[@pass][,name=...]`. Throws on anything else. */
export function armFailpointsFromText(text: string): void {
  for (const part of text.split(',').filter((piece) => piece !== '')) {
    const match = /^([a-z0-9.-]+)=(error|kill)(?:@([1-9][0-9]{0,6}))?$/.exec(part);
    if (match === null) throw new FarshoreError('failpoint.syntax', `failpoint '${part}' is not name=error|kill[@pass]`);
    armFailpoint(match[1]!, match[2] as FailpointAction, match[3] === undefined ? 1 : Number(match[3]));
  }
}

/** A place that can be made to fail. */
export function failpoint(name: string): void {
  if (armed.size === 0) return;
  const entry = armed.get(name);
  if (entry === undefined) return;
  entry.countdown -= 1;
  if (entry.countdown > 0) return;
  armed.delete(name);
  if (entry.action === 'kill') process.kill(process.pid, 'SIGKILL');
  throw new FarshoreError('failpoint', `failpoint ${name}`);
}
