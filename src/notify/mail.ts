import { spawn } from 'node:child_process';
import { createTransport, type SendMailOptions } from 'nodemailer';
import { inTime } from '../base/async.ts';
import { errorCode, toError } from '../base/errors.ts';
import type { SmtpRecord } from '../config/notification-config.ts';
import { deliveryError } from './delivery-error.ts';
import { trustedCertificates } from './http-delivery.ts';
import type { Message } from './message.ts';

/** Mail: composed and spoken by nodemailer, or handed to the host's sendmail (spec server 14.1). */

export interface Mail {
  from: string;
  author: string;
  to: readonly string[];
  message: Message;
}

/** Nothing of a message is looked up in files or at addresses. */
const closed = { disableFileAccess: true, disableUrlAccess: true };

function mailOptions({ from, author, to, message }: Mail): SendMailOptions {
  return {
    from: { name: author, address: from },
    to: to.map((address) => ({ name: '', address })),
    subject: message.title,
    text: message.text,
    html: message.html,
    date: new Date(message.time * 1000),
    headers: { 'Auto-Submitted': 'auto-generated' },
    ...closed,
  };
}

export interface SmtpServer extends Pick<SmtpRecord, 'server' | 'port' | 'mode' | 'username'> {
  /** Needed when there is a user name. */
  password: string | undefined;
  /** Name of this host in the greeting. */
  clientName: string;
  /** PEM certificates trusted beside those of Node and of the system. */
  trusted: readonly string[] | undefined;
}

const defaultPorts = { insecure: 25, starttls: 587, tls: 465 } as const;

/** Sends a mail by SMTP. NetworkError `net.delivery…`. */
export async function sendBySmtp(mail: Mail, server: SmtpServer, limitMs: number): Promise<void> {
  const { server: host, mode = 'tls', username, password } = server;
  if (username !== undefined && password === undefined) throw deliveryError('username is set but no password was provided', { isTemporary: false });
  const transport = createTransport({
    host,
    port: server.port ?? defaultPorts[mode],
    secure: mode === 'tls',
    requireTLS: mode === 'starttls',
    ignoreTLS: mode === 'insecure',
    name: server.clientName,
    connectionTimeout: limitMs,
    greetingTimeout: limitMs,
    socketTimeout: limitMs,
    dnsTimeout: limitMs,
    ...(username === undefined ? {} : { auth: { user: username, pass: password! } }),
    tls: { ca: trustedCertificates(server.trusted), minVersion: 'TLSv1.2' },
    ...closed,
  });
  try {
    const info = await inTime(transport.sendMail(mailOptions(mail)), 2 * limitMs, () => deliveryError(`the mail server did not answer within ${limitMs / 1000} s`, { isTemporary: true }));
    // The others have it: sending it again would send it to them twice.
    if (info.rejected.length > 0) throw deliveryError(`the mail server refused ${info.rejected.length} of ${mail.to.length} recipients`, { isTemporary: false });
  } catch (e) {
    throw smtpFailure(e);
  } finally {
    transport.close();
  }
}

function smtpFailure(e: unknown): unknown {
  if (errorCode(e).startsWith('net.delivery')) return e;
  const status = (e as { responseCode?: number }).responseCode;
  const isTemporary = status === undefined ? !['EAUTH', 'EMESSAGE', 'EENVELOPE', 'ETLS'].includes(errorCode(e)) : status < 500;
  return deliveryError(toError(e).message, { isTemporary });
}

export const sendmailPath = '/usr/sbin/sendmail';
const maxErrorText = 2000;

/** Hands a mail to the host's sendmail. NetworkError `net.delivery…`. */
export async function sendBySendmail(mail: Mail, path: string, limitMs: number): Promise<void> {
  const composed = await createTransport({ streamTransport: true, buffer: true, newline: 'unix' }).sendMail(mailOptions(mail));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(path, ['-B', '8BITMIME', '-f', mail.from, '--', ...mail.to], { stdio: ['pipe', 'ignore', 'pipe'], timeout: limitMs, killSignal: 'SIGKILL' });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(0, maxErrorText)));
  child.once('error', (e) => reject(deliveryError(`unable to run ${path}`, { isTemporary: false, cause: e })));
  child.once('close', (status, signal) => {
    if (status === 0) resolve();
    else reject(deliveryError(`${path} failed: ${signal === null ? `exit ${status}` : `ended by ${signal}`}${complaint.trim() === '' ? '' : `: ${complaint.trim()}`}`, { isTemporary: true }));
  });
  // A program that ends early says why by its exit code.
  child.stdin.on('error', () => {});
  child.stdin.end(composed.message);
  await promise;
}
