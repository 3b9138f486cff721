import { LoginError, type Login } from '../../access/login.ts';
import { HttpError } from '../../base/errors.ts';
import { superuser } from '../../config/user-config.ts';
import { tokenNameOf } from '../../format/auth-id.ts';

/**
 * Whoever changes passwords or second factors must know his own password: a ticket alone could be stolen. Not asked of root@pam; tokens are
 * refused. HttpError 400, 401 (spec rest-api 6.3, 11.2).
 */
export async function requireOwnPassword(login: Login, caller: string, own: string | undefined): Promise<void> {
  if (tokenNameOf(caller) !== null) throw new HttpError(400, 'API tokens cannot access this API endpoint');
  if (caller === superuser) return;
  if (own === undefined) throw new HttpError(401, 'missing password');
  try {
    await login.checkPassword(caller, own);
  } catch (e) {
    if (e instanceof LoginError) throw new HttpError(401, e.reason, { cause: e });
    throw e;
  }
}
