import type { Clock } from '../base/clock.ts';
import { errorChain, FarshoreError, HttpError } from '../base/errors.ts';
import { isUserId, realmOf, userNameOf } from '../format/auth-id.ts';
import type { Accounts } from './accounts.ts';
import type { AttemptLimit } from './attempt-limit.ts';
import { makeCsrfToken } from './csrf.ts';
import type { PasswordRealm } from './realm.ts';
import type { SecondFactor } from './second-factor.ts';
import type { ServerKeys } from './server-keys.ts';
import { looksLikeTicket, signTicket, ticketMaxAge, ticketMinAge, verifyTicket } from './ticket.ts';

/** A login that failed, whatever the reason: 401 `permission check failed.` (with the period); `reason` is for the auth log only. */
export class LoginError extends HttpError {
  readonly reason: string;
  readonly claimed: string;

  constructor(reason: string, claimed: string) {
    super(401, 'permission check failed.');
    this.reason = reason;
    this.claimed = claimed;
  }
}

export interface LoginRequest {
  username: string;
  password: string | undefined;
  /** The challenge ticket of the first step; `password` then is the answer, `totp:123456`. */
  tfaChallenge?: string | undefined;
  /** False: a password that is a ticket is not taken as one (http-only logins, where the ticket is in the cookie). */
  allowTicket?: boolean;
  /** Where it comes from; undefined for who sits at this host. */
  address?: string | undefined;
}

export interface LoginResult {
  username: string;
  /** A ticket, or, when a second factor is asked for, the challenge. */
  ticket: string;
  /** `invalid` beside a challenge. */
  csrfToken: string;
  isChallenge: boolean;
}

export interface LoginParts {
  keys: ServerKeys;
  accounts: Accounts;
  realmOf: (realm: string) => PasswordRealm | null;
  secondFactor: SecondFactor;
  /** Of password and second factor. */
  attempts: AttemptLimit;
  clock: Clock;
}

/** `PBS:{userid}:{time}::ticketinfo`, what http-only logins tell the script instead of the ticket (spec rest-api 6.1). */
export function ticketInfo(ticket: string): string {
  return `${ticket.slice(0, ticket.indexOf('::'))}::ticketinfo`;
}

const challengePrefix = '!tfa!';

/** From password, ticket or second factor to a ticket (spec rest-api 6.1, 6.2). */
export class Login {
  readonly #parts: LoginParts;

  constructor(parts: LoginParts) {
    this.#parts = parts;
  }

  /** LoginError when it fails; HttpError 400 `no password provided`. */
  async login(request: LoginRequest): Promise<LoginResult> {
    const { username, password } = request;
    if (password === undefined) throw new HttpError(400, 'no password provided');
    const { accounts } = this.#parts;
    if (!isUserId(username)) throw new LoginError('invalid user id', username);
    const inactive = accounts.inactiveReason(username);
    if (inactive !== null) throw new LoginError(inactive, username);
    const { tfaChallenge, address } = request;
    if (tfaChallenge !== undefined) return this.#attempt(username, address, () => this.#secondStep(username, password, tfaChallenge));
    if (request.allowTicket !== false && looksLikeTicket(password)) {
      const holder = this.#ticketHolder(password);
      if (holder === username) return this.#granted(username);
      if (holder !== null) throw new LoginError('ticket of another user', username);
    }
    await this.#attempt(username, address, () => this.#checkPassword(username, password));
    const challenge = this.#asLogin(username, () => this.#parts.secondFactor.challenge(username));
    return challenge === null ? this.#granted(username) : this.#challenged(username, challenge);
  }

  /** Whether a password is that of the user, without a login (`PUT /access/password`, TFA changes). LoginError when not. */
  async checkPassword(username: string, password: string, address?: string): Promise<void> {
    await this.#attempt(username, address, () => this.#checkPassword(username, password));
  }

  /** Lets `work` try, if there is a place left for address and account. LoginError, as after a wrong attempt, when there is none. */
  async #attempt<R>(username: string, address: string | undefined, work: () => Promise<R>): Promise<R> {
    const attempt = this.#parts.attempts.begin(address, username);
    if (attempt === null) throw new LoginError('too many failed logins', username);
    const result = await work();
    attempt.succeeded();
    return result;
  }

  /** Who a ticket was made for; null when it is no valid ticket. A challenge is held by nobody who could log in. */
  #ticketHolder(ticket: string): string | null {
    const verified = verifyTicket(this.#parts.keys.ticketVerifyKey, ticket, { nowMs: this.#parts.clock.now(), minAge: ticketMinAge, maxAge: ticketMaxAge });
    return 'data' in verified ? verified.data : null;
  }

  async #checkPassword(username: string, password: string): Promise<void> {
    const realm = this.#parts.realmOf(realmOf(username));
    if (realm === null) throw new LoginError(`unknown realm '${realmOf(username)}'`, username);
    let fits: boolean;
    try {
      fits = await realm.checkPassword(userNameOf(username), password);
    } catch (e) {
      throw asLoginError(e, username);
    }
    if (!fits) throw new LoginError('invalid credentials', username);
  }

  #granted(username: string): LoginResult {
    const { keys, clock } = this.#parts;
    const nowMs = clock.now();
    return { username, ticket: signTicket(keys.ticketSigningKey, username, nowMs), csrfToken: makeCsrfToken(keys.csrfKey, username, nowMs), isChallenge: false };
  }

  #challenged(username: string, challenge: object): LoginResult {
    const { keys, clock } = this.#parts;
    const ticket = signTicket(keys.ticketSigningKey, challengePrefix + JSON.stringify(challenge), clock.now(), username);
    return { username, ticket, csrfToken: 'invalid', isChallenge: true };
  }

  async #secondStep(username: string, answer: string, challenge: string): Promise<LoginResult> {
    const { keys, clock, secondFactor } = this.#parts;
    const verified = verifyTicket(keys.ticketVerifyKey, challenge, { nowMs: clock.now(), minAge: -60, maxAge: 600, additional: username });
    if ('problem' in verified) throw new LoginError(verified.problem, username);
    if (!verified.data.startsWith(challengePrefix)) throw new LoginError('not a challenge', username);
    try {
      await secondFactor.verify(username, answer);
    } catch (e) {
      throw asLoginError(e, username);
    }
    return this.#granted(username);
  }

  #asLogin<R>(username: string, work: () => R): R {
    try {
      return work();
    } catch (e) {
      throw asLoginError(e, username);
    }
  }
}

/** Operating errors become a failed login whose reason is logged; programmer errors stay what they are. */
function asLoginError(e: unknown, username: string): unknown {
  return e instanceof FarshoreError ? new LoginError(errorChain(e), username) : e;
}
