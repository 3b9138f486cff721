import { NetworkError } from '../base/errors.ts';

const temporaryCode = 'net.delivery-temporary';

/** A message that did not reach its target; `isTemporary`: it may be tried again. Without secrets: the text is shown and logged. */
export function deliveryError(message: string, options: { isTemporary: boolean; cause?: unknown }): NetworkError {
  return new NetworkError(options.isTemporary ? temporaryCode : 'net.delivery', message, options.cause === undefined ? {} : { cause: options.cause });
}

export function isTemporary(e: unknown): boolean {
  return e instanceof NetworkError && e.code === temporaryCode;
}
