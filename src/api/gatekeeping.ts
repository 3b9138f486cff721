import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import type { AccessControl } from '../access/access-control.ts';
import { AuthenticationError, credentialsFrom, type Authenticator } from '../access/authenticator.ts';
import { privileges as allPrivileges, type Privilege } from '../config/privileges.ts';
import { superuser } from '../config/user-config.ts';
import { tokenNameOf } from '../format/auth-id.ts';
import { failureLine, type AuthLog } from './auth-log.ts';
import type { Caller, Permission } from './endpoint.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import { withBearerAsToken } from './monitoring/pages.ts';
import { remoteAddressText } from './remote-address.ts';

export interface GatekeepingParts {
  authenticator: Authenticator;
  access: AccessControl;
  authLog: AuthLog;
}

const knownPrivileges: ReadonlySet<string> = new Set(allPrivileges);

/** Lets callers in by ticket or API token, and to endpoints by the ACL (spec rest-api 5, 7, 11). */
export class Gatekeeping implements Gatekeeper {
  readonly #parts: GatekeepingParts;

  constructor(parts: GatekeepingParts) {
    this.#parts = parts;
  }

  async authenticate(request: IncomingMessage): Promise<Caller | null> {
    return this.#authenticate(request, request.rawHeaders);
  }

  /** The same for scrapers of metrics, which send an API token as `Bearer id:secret`. */
  async authenticateScraper(request: IncomingMessage): Promise<Caller | null> {
    return this.#authenticate(request, withBearerAsToken(request.rawHeaders));
  }

  async #authenticate(request: IncomingMessage, rawHeaders: readonly string[]): Promise<Caller | null> {
    const { authenticator, authLog } = this.#parts;
    try {
      const authId = await authenticator.authenticate(credentialsFrom(request.method ?? '', rawHeaders));
      return { authId, remoteAddress: request.socket.remoteAddress ?? 'unix' };
    } catch (e) {
      if (!(e instanceof AuthenticationError)) throw e;
      authLog(failureLine(remoteAddressText(request.socket), e.reason));
      return null;
    }
  }

  async allowed(permission: Permission, caller: Caller, uriParameters: Readonly<Record<string, string>>): Promise<boolean> {
    return caller.authId === superuser || this.#holds(permission, caller.authId, uriParameters);
  }

  #holds(permission: Permission, authId: string, uriParameters: Readonly<Record<string, string>>): boolean {
    switch (permission.kind) {
      case 'public':
      case 'any':
        return true;
      case 'root':
        return false;
      case 'self':
        return uriParameters['userid'] === authId && tokenNameOf(authId) === null;
      case 'privilege': {
        const { path, privileges, partial = false } = permission;
        for (const name of privileges) assert.ok(knownPrivileges.has(name), `no privilege ${name}`);
        return this.#parts.access.check(authId, aclPathOf(path, uriParameters), privileges as readonly Privilege[], { partial });
      }
      case 'or':
        return permission.of.some((one) => this.#holds(one, authId, uriParameters));
      case 'and':
        return permission.of.every((one) => this.#holds(one, authId, uriParameters));
    }
  }
}

/** The path with its braces filled from URI parameters. A component stays one: `a%2Fb` must not lead to the entries of `a/b`. */
function aclPathOf(template: string, uriParameters: Readonly<Record<string, string>>): string {
  return template.replace(/\{([a-z0-9-]+)\}/g, (_, name: string) => {
    const value = uriParameters[name];
    assert.ok(value !== undefined, `${template}: the endpoint has no URI parameter ${name}`);
    // No ACL path has a colon, so this finds no entry but those above.
    return value.replaceAll('/', ':');
  });
}
