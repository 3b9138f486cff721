import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** Servers that take what notifications send, and keep it. */

export interface TakenMail {
  from: string;
  to: string[];
  /** Who logged in. */
  user: string | undefined;
  secure: boolean;
  /** As received. */
  raw: string;
}

export interface MailSink {
  port: number;
  mails: TakenMail[];
}

/** An SMTP server. User `backup` has the password `smtp-pw`; recipients at `refused.example` are refused for good, those at `later.example` for now. */
export async function mailSink(t: TestContext, options: SMTPServerOptions = {}): Promise<MailSink> {
  const mails: TakenMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    logger: false,
    onAuth: ({ username, password }, _session, callback) => callback(username === 'backup' && password === 'smtp-pw' ? null : new Error('wrong password'), { user: username }),
    onRcptTo: ({ address }, _session, callback) => {
      const [, host] = address.split('@');
      if (host === 'refused.example' || host === 'later.example') callback(Object.assign(new Error('no such mailbox'), { responseCode: host === 'later.example' ? 451 : 550 }));
      else callback();
    },
    onData: (stream, session, callback) => {
      let raw = '';
      stream.setEncoding('utf8').on('data', (piece: string) => (raw += piece));
      stream.once('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({ from: mailFrom === false ? '' : mailFrom.address, to: rcptTo.map(({ address }) => address), user: session.user as string | undefined, secure: session.secure, raw });
        callback();
      });
    },
    ...options,
  });
  // Clients that hang up in the middle of a handshake.
  server.on('error', () => {});
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { port: (listening.address() as AddressInfo).port, mails };
}

export interface TakenRequest {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface RequestSink {
  port: number;
  requests: TakenRequest[];
  server: Server;
}

/** An HTTP server that answers with `status()`; null: not at all. */
export async function requestSink(t: TestContext, status: () => number | null = () => 200, tls?: { cert: string; key: string }): Promise<RequestSink> {
  const requests: TakenRequest[] = [];
  const server: Server = tls === undefined ? createServer() : createTlsServer(tls);
  server.on('request', (request, response) => {
    void text(request).then((body) => {
      requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      const code = status();
      if (code === null) return;
      response.writeHead(code, code === 302 ? { location: '/elsewhere' } : {});
      response.end('{}');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as AddressInfo).port, requests, server };
}
