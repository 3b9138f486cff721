/** What is read of the body of an answer other than 2xx. */
export const maxAnswerTextBytes = 64 * 1024;

/**
 * Message of an answer other than 2xx (spec rest-api 3.2: the bare body). It ends up in logs and on terminals, so
 * control characters other than line feeds become spaces.
 */
export function answerText(status: number, parts: readonly Uint8Array[]): string {
  const text = Buffer.concat(parts).subarray(0, maxAnswerTextBytes).toString('utf8');
  // oxlint-disable-next-line no-control-regex
  const printable = text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, ' ').trim();
  return printable === '' ? `HTTP status ${status}` : printable;
}
