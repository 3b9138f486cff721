/** Takes the lines of `api/auth.log` without their time (spec server 11); fail2ban rules match on them. */
export type AuthLog = (line: string) => void;

/** A login that gave a ticket. */
export function successLine(userId: string): string {
  return `successful auth for user '${userId}'`;
}

/** `rhost` as `remoteAddressText` prints it; `user` only where somebody tried to log in as him. */
export function failureLine(rhost: string, reason: string, user?: string): string {
  return `authentication failure; rhost=${rhost}${user === undefined ? '' : ` user=${oneWord(user)}`} msg=${oneLine(reason)}`;
}

/** What the caller has sent must not make lines, or fields, of its own. */
function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what must not get through
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 500);
}

function oneWord(text: string): string {
  return oneLine(text).replaceAll(' ', '_');
}
