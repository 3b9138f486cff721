import { HttpError } from '../base/errors.ts';
import type { UpgradeRequest } from './endpoint.ts';

/** HttpError 400 unless the request asks for exactly this protocol (spec backup-protocol 2.3, steps 5 and 6). */
export function requireProtocol(upgrade: UpgradeRequest, protocol: string): void {
  if (upgrade.protocol === undefined) throw new HttpError(400, 'missing Upgrade header');
  if (upgrade.protocol !== protocol) throw new HttpError(400, 'invalid protocol name');
}
