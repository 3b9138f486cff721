import { NetworkError } from '../base/errors.ts';

const temporaryCode = 'net.delivery-temporary';

/** A message that did not reach its target; `isTemporary`: it may be tried again. Without secrets: the text is shown and logged. */
export function deliveryError(message: string, options: { isTemporary: boolean; cause?: unknown }): NetworkError {
  return new NetworkError(options.isTemporary ? temporaryCode : 'net.delivery', message, options.cause === undefined ? {} : { cause: options.cause });
}

const unsetCode = 'net.delivery-unset';

/** Nobody has said yet where mails of the built-in target go: that is how every server begins. */
export function nobodySetUp(message: string): NetworkError {
  return new NetworkError(unsetCode, message, { hint: 'say who is to be told: farshore user update root@pam --email ADDRESS' });
}

export function isUnset(e: unknown): boolean {
  return e instanceof NetworkError && e.code === unsetCode;
}

export function isTemporary(e: unknown): boolean {
  return e instanceof NetworkError && e.code === temporaryCode;
}
