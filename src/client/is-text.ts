import type { Parameters } from '../terminal/command.ts';
import { outputFormat, UnknownFormat } from '../terminal/output.ts';
import type { ClientContext } from './client-context.ts';

/** True when the output is for people. A format that there is not is none; `show` says it. */
export function isText(context: ClientContext, given: Parameters): boolean {
  try {
    return outputFormat(given['output-format'], context.output) === 'text';
  } catch (e) {
    if (e instanceof UnknownFormat) return false;
    throw e;
  }
}
