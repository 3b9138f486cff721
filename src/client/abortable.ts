import { AbortedError } from '../base/errors.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';

/** Ctrl-C as an abort; the second one ends the process as if nobody listened. */
export async function abortable<T>(interrupts: InterruptSource, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = interrupts.listen(() => {
    stop();
    controller.abort(new Error('interrupted'));
  });
  try {
    return await work(controller.signal);
  } catch (e) {
    if (controller.signal.aborted) throw new AbortedError('interrupted');
    throw e;
  } finally {
    stop();
  }
}
