import type { IncomingMessage, ServerResponse } from 'node:http';
import { Type } from 'typebox';
import { credentialsFrom, ticketFromCookies } from '../../access/authenticator.ts';
import { LoginError, ticketInfo, type Login, type LoginRequest, type LoginResult } from '../../access/login.ts';
import { looksLikeTicket } from '../../access/ticket.ts';
import { flag, tcpPort, userId } from '../../config/schemas.ts';
import { clearCookie, sendText } from '../answer.ts';
import { failureLine, successLine, type AuthLog } from '../auth-log.ts';
import { rawEndpoint, type Endpoint } from '../endpoint.ts';
import { remoteAddressText } from '../remote-address.ts';

/** Limits of what is hashed, parsed or compared; the reference names none. */
const maxSecretLength = 16_384;
const { Optional } = Type;

const loginParameters = Type.Object({
  username: userId,
  password: Optional(Type.String({ maxLength: maxSecretLength, description: 'Password, ticket, or answer to the challenge.' })),
  'tfa-challenge': Optional(Type.String({ maxLength: maxSecretLength, description: 'Challenge that the first step of the login returned.' })),
  'http-only': Optional(flag('Set the ticket as a cookie that scripts cannot read.', { default: false })),
  path: Optional(Type.String({ maxLength: 128, description: 'Of terminal tickets, which this server does not make.' })),
  privs: Optional(Type.String({ maxLength: 1024, description: 'Of terminal tickets, which this server does not make.' })),
  port: Optional(tcpPort),
});

/** Login and logout (spec rest-api 6.1). Both answer without the usual envelope, in the same form for `json` and `extjs`. */
export function ticketEndpoints(parts: { login: Login; authLog: AuthLog }): Endpoint[] {
  return [
    rawEndpoint({
      method: 'POST',
      path: '/access/ticket',
      description: 'Create or verify authentication ticket.',
      parameters: loginParameters,
      permission: { kind: 'public' },
      body: 'form',
      handler: async (given, _caller, request, response) => {
        const httpOnly = given['http-only'] === true;
        const wanted: LoginRequest = { username: given.username, password: given.password, tfaChallenge: given['tfa-challenge'], address: request.socket.remoteAddress };
        const result = await logged(parts.authLog, request, () => (httpOnly ? loginByCookie(parts.login, request, wanted) : parts.login.login(wanted)));
        answerLogin(response, result, httpOnly);
      },
    }),
    rawEndpoint({
      method: 'DELETE',
      path: '/access/ticket',
      description: "Ends a browser's session.",
      parameters: Type.Object({}),
      permission: { kind: 'public' },
      handler: async (_given, _caller, _request, response) => {
        response.setHeader('set-cookie', clearCookie);
        sendText(response, 200, JSON.stringify({ data: {}, status: 200, success: true }));
      },
    }),
  ];
}

/** Success and failure of a login go to the auth log; a challenge is neither yet. */
async function logged(authLog: AuthLog, request: IncomingMessage, login: () => Promise<LoginResult>): Promise<LoginResult> {
  try {
    const result = await login();
    if (!result.isChallenge) authLog(successLine(result.username));
    return result;
  } catch (e) {
    if (e instanceof LoginError) authLog(failureLine(remoteAddressText(request.socket), e.reason, e.claimed));
    throw e;
  }
}

/**
 * Renews the ticket in the cookie if there is one; otherwise, or when it is of no use, as any login, but then the password must be one:
 * an old cookie must not be followed by a ticket from elsewhere.
 */
async function loginByCookie(login: Login, request: IncomingMessage, wanted: LoginRequest): Promise<LoginResult> {
  const ticket = ticketFromCookies(credentialsFrom('POST', request.rawHeaders).cookies);
  if (ticket === null || wanted.tfaChallenge !== undefined || !looksLikeTicket(ticket)) return login.login(wanted);
  try {
    return await login.login({ username: wanted.username, password: ticket, address: wanted.address });
  } catch (e) {
    if (!(e instanceof LoginError) || wanted.password === undefined) throw e;
    return login.login({ ...wanted, allowTicket: false });
  }
}

function answerLogin(response: ServerResponse, { username, ticket, csrfToken, isChallenge }: LoginResult, httpOnly: boolean): void {
  // A challenge is to be read and sent back by the script; it opens nothing.
  const asCookie = httpOnly && !isChallenge;
  if (asCookie) response.setHeader('set-cookie', `__Host-PBSAuthCookie=${ticket}; Secure; SameSite=Lax; HttpOnly; Path=/;`);
  const data = { CSRFPreventionToken: csrfToken, ...(asCookie ? { 'ticket-info': ticketInfo(ticket) } : { ticket }), username };
  sendText(response, 200, JSON.stringify({ data, status: 200, success: true }), 'application/json');
}
