import type { IncomingMessage } from 'node:http';
import type { Caller, Permission } from './endpoint.ts';

/** Who may come in, and where to. The logic is in src/access; the composition root ties it to the router. */
export interface Gatekeeper {
  /** Caller by ticket (with its CSRF token where it takes one) or API token; null = 401. The reason goes to the auth log, never to the caller. */
  authenticate(request: IncomingMessage): Promise<Caller | null>;
  /** Whether `caller` has `permission`; never asked about `public` and `any`. `uriParameters` fill the braces of its paths. */
  allowed(permission: Permission, caller: Caller, uriParameters: Readonly<Record<string, string>>): Promise<boolean>;
}
