import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { makeCertificate } from '../../test/support/certificate.ts';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { mailSink, requestSink } from '../../test/support/message-sinks.ts';
import { errorChain } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { nodeFile } from '../config/node-config.ts';
import { notificationFiles } from '../config/notification-config.ts';
import { isTemporary } from './delivery-error.ts';
import { NotificationEntities } from './entities.ts';
import type { Message } from './message.ts';
import { legacyTarget, TargetDelivery, type TargetDeliveryParts } from './target-delivery.ts';

const message: Message = {
  title: 'Subj ümlaut <b>',
  text: 'Body text\n.dot line & <x> "q"\n',
  html: '<html><body><pre>Body text</pre></body></html>',
  severity: 'error',
  fields: { type: 'sync', hostname: 'host', datastore: 'main' },
  time: Date.parse('2026-11-25T02:07:36Z') / 1000,
};

interface Ground {
  delivery: TargetDelivery;
  entities: NotificationEntities;
  complaints: string[];
  home: string;
  /** How sending fails: `temporary text` or `final text`. */
  failure: (name: string) => Promise<string>;
}

async function ground(t: TestContext, options: Partial<Omit<TargetDeliveryParts, 'node'>> & { node?: string } = {}): Promise<Ground> {
  const paths = await temporaryInstallation(t);
  const { node = '', ...parts } = options;
  await writeFile(join(paths.config, 'node.cfg'), node);
  const entities = new NotificationEntities(notificationFiles(paths));
  const complaints: string[] = [];
  const addresses: Record<string, string> = { 'root@pam': 'root@example.com', 'alice@pbs': 'alice@example.com' };
  const log = { ...silentLog, warn: (line: string) => void complaints.push(line) };
  const delivery = new TargetDelivery({ entities, mailOf: (user) => addresses[user], node: nodeFile(paths), hostname: 'host', userAgent: 'farshore/0.0.0', log, ...parts });
  const failure = async (name: string): Promise<string> => {
    try {
      await delivery.send(name, message);
    } catch (e) {
      return `${isTemporary(e) ? 'temporary' : 'final'} ${errorChain(e)}`;
    }
    return 'sent';
  };
  return { delivery, entities, complaints, home: paths.state, failure };
}

/** The header lines, unfolded. */
function headers(raw: string): string {
  return raw.slice(0, raw.search(/\r?\n\r?\n/)).replaceAll(/\r?\n[ \t]+/g, ' ');
}

suite('smtp', () => {
  const target = (port: number, more: object = {}): Record<string, unknown> => ({ name: 'mail', server: '127.0.0.1', port, mode: 'insecure', 'from-address': 'backup@example.com', mailto: ['ops@example.com', 'admin@example.com'], ...more });

  test('a mail in text and HTML to everybody, in one go', async (t) => {
    const { delivery, entities } = await ground(t);
    const sink = await mailSink(t);
    await entities.create('smtp', target(sink.port, { 'mailto-user': ['alice@pbs'] }));
    await delivery.send('mail', message);
    assert.deepEqual(sink.mails.map(({ from, to, user, secure }) => ({ from, to, user, secure })), [{ from: 'backup@example.com', to: ['ops@example.com', 'admin@example.com', 'alice@example.com'], user: undefined, secure: false }]);
    const { raw } = sink.mails[0]!;
    assert.match(headers(raw), /^From: "Farshore - host" <backup@example\.com>\r$/m);
    assert.match(headers(raw), /^To: ops@example\.com, admin@example\.com, alice@example\.com\r$/m);
    assert.match(headers(raw), /^Subject: =\?UTF-8\?Q\?Subj_=C3=BCmlaut_=3Cb=3E\?=\r$/m);
    assert.match(headers(raw), /^Date: Wed, 25 Nov 2026 02:07:36 \+0000\r$/m);
    assert.match(headers(raw), /^Auto-Submitted: auto-generated\r$/m);
    assert.match(headers(raw), /^Content-Type: multipart\/alternative;/m);
    assert.match(raw, /Content-Type: text\/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nBody text\r\n\.dot line & <x> "q"\r\n/);
    assert.match(raw, /Content-Type: text\/html; charset=utf-8\r\n/);
  });

  test('user and password; a wrong password is final', async (t) => {
    const { entities, failure } = await ground(t);
    const sink = await mailSink(t, { authOptional: false });
    await entities.create('smtp', target(sink.port, { username: 'backup', author: 'Üm Ä' }), { password: 'smtp-pw' });
    assert.equal(await failure('mail'), 'sent');
    assert.equal(sink.mails[0]?.user, 'backup');
    await entities.update('smtp', 'mail', {}, { secrets: { password: 'wrong' } });
    assert.match(await failure('mail'), /^final .*535/);
    await entities.update('smtp', 'mail', { delete: ['password'] });
    assert.equal(await failure('mail'), 'final username is set but no password was provided');
    assert.equal(sink.mails.length, 1);
  });

  test('TLS from the start and by STARTTLS, only with a certificate that is trusted', async (t) => {
    const { cert, key } = await makeCertificate();
    const direct = await mailSink(t, { secure: true, cert, key });
    const upgrading = await mailSink(t, { cert, key });
    const trusting = await ground(t, { trusted: [cert] });
    const careful = await ground(t);
    for (const { entities } of [trusting, careful]) {
      await entities.create('smtp', target(direct.port, { name: 'direct', mode: 'tls' }));
      await entities.create('smtp', target(upgrading.port, { name: 'upgrading', mode: 'starttls' }));
    }
    for (const name of ['direct', 'upgrading']) {
      assert.equal(await trusting.failure(name), 'sent');
      assert.match(await careful.failure(name), /self-signed certificate/);
    }
    assert.deepEqual([...direct.mails, ...upgrading.mails].map(({ secure }) => secure), [true, true]);
  });

  test('STARTTLS that is not offered is not left out', async (t) => {
    const { entities, failure } = await ground(t);
    const sink = await mailSink(t, { disabledCommands: ['STARTTLS'] });
    await entities.create('smtp', target(sink.port, { mode: 'starttls' }));
    assert.match(await failure('mail'), /STARTTLS/);
    assert.deepEqual(sink.mails, []);
  });

  test('refusals for good and for now, nobody there, no answer', async (t) => {
    const { entities, failure } = await ground(t);
    const sink = await mailSink(t);
    await entities.create('smtp', target(sink.port, { mailto: ['x@refused.example'] }));
    assert.match(await failure('mail'), /^final .*550/);
    await entities.update('smtp', 'mail', { set: { mailto: ['x@later.example'] } });
    assert.match(await failure('mail'), /^temporary .*451/);
    await entities.update('smtp', 'mail', { set: { mailto: ['x@refused.example', 'ops@example.com'] } });
    assert.equal(await failure('mail'), 'final the mail server refused 1 of 2 recipients');
    assert.deepEqual(sink.mails.map(({ to }) => to), [['ops@example.com']]);
    const silent = createServer();
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const hurried = await ground(t, { limitMs: 100 });
    await hurried.entities.create('smtp', target(port));
    assert.match(await hurried.failure('mail'), /^temporary /);
    await entities.update('smtp', 'mail', { set: { port } });
    silent.close();
    await once(silent, 'close');
    assert.match(await failure('mail'), /^temporary .*ECONNREFUSED/);
  });
});

suite('sendmail', () => {
  async function program(home: string, script: string): Promise<string> {
    const path = join(home, 'sendmail');
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    return path;
  }
  const keep = 'printf "%s|" "$@" > "$0.args"\ncat > "$0.in"';
  const written = async (path: string): Promise<{ args: string; mail: string }> => ({ args: await readFile(`${path}.args`, 'utf8'), mail: await readFile(`${path}.in`, 'utf8') });

  async function withProgram(t: TestContext, script: string, node = ''): Promise<Ground & { path: string }> {
    const place = await temporaryInstallation(t);
    const path = await program(place.state, script);
    return { ...(await ground(t, { sendmail: path, node })), path };
  }

  test('the built-in target writes to root', async (t) => {
    const { delivery, path } = await withProgram(t, keep);
    await delivery.send('mail-to-root', message);
    const { args, mail } = await written(path);
    assert.equal(args, '-B|8BITMIME|-f|root|--|root@example.com|');
    assert.match(headers(mail), /^From: "Farshore - host" <root>$/m);
    assert.match(headers(mail), /^To: root@example\.com$/m);
    assert.ok(!mail.includes('\r'));
  });

  test('sender: of the target, else of node.cfg; addresses are no options', async (t) => {
    const { delivery, entities, path } = await withProgram(t, keep, 'email-from: node@example.com\n');
    await delivery.send('mail-to-root', message);
    assert.match((await written(path)).args, /\|-f\|node@example\.com\|/);
    await entities.create('sendmail', { name: 'two', mailto: ['-Xevil', 'a@b.c'], 'from-address': 'f@b.c', author: 'Me' });
    await delivery.send('two', message);
    const { args, mail } = await written(path);
    assert.equal(args, '-B|8BITMIME|-f|f@b.c|--|-Xevil|a@b.c|');
    assert.match(headers(mail), /^From: Me <f@b\.c>$/m);
  });

  test('users without address get nothing, and the log says so', async (t) => {
    const { entities, complaints, failure } = await withProgram(t, keep);
    await entities.create('sendmail', { name: 'nobody', 'mailto-user': ['bob@pbs'] });
    assert.equal(await failure('nobody'), 'final no recipients provided for the mail, cannot send it.');
    assert.deepEqual(complaints, ["'bob@pbs' does not have a configured email address in the user configuration - not sending an email to this user"]);
  });

  test('the built-in target without an address is how every server begins: no complaint', async (t) => {
    const { complaints, delivery } = await ground(t, { mailOf: () => undefined });
    await assert.rejects(delivery.send('mail-to-root', message), { code: 'net.delivery-unset', message: 'no recipients provided for the mail, cannot send it.' });
    assert.deepEqual(complaints, []);
  });

  test('mode legacy-sendmail writes to one user', async (t) => {
    const { delivery, path } = await withProgram(t, keep);
    await delivery.send(legacyTarget('alice@pbs'), message);
    assert.equal((await written(path)).args, '-B|8BITMIME|-f|root|--|alice@example.com|');
  });

  test('a program that fails, hangs, or is not there', async (t) => {
    const failing = await withProgram(t, 'echo "queue is full" >&2; exit 75');
    assert.equal(await failing.failure('mail-to-root'), `temporary ${failing.path} failed: exit 75: queue is full`);
    const place = await temporaryInstallation(t);
    const hanging = await ground(t, { sendmail: await program(place.state, 'exec sleep 600'), limitMs: 100 });
    assert.match(await hanging.failure('mail-to-root'), /^temporary .*ended by SIGKILL$/);
    const none = await ground(t, { sendmail: '/nowhere/sendmail' });
    assert.match(await none.failure('mail-to-root'), /^final unable to run \/nowhere\/sendmail: .*ENOENT$/);
  });
});

suite('gotify and webhooks', () => {
  test('what the reference sends to Gotify', async (t) => {
    const { delivery, entities } = await ground(t);
    const sink = await requestSink(t);
    await entities.create('gotify', { name: 'phone', server: `http://127.0.0.1:${sink.port}/` }, { token: 'tok-123' });
    await delivery.send('phone', message);
    const request = sink.requests[0]!;
    assert.equal(`${request.method} ${request.url}`, 'POST /message');
    assert.equal(request.headers.authorization, 'Bearer tok-123');
    assert.equal(request.headers['x-gotify-key'], 'tok-123');
    assert.equal(request.headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(request.body), { extras: { 'client::display': { contentType: 'text/markdown' } }, message: '```\nBody text\n.dot line & <x> "q"\n\n```', priority: 9, title: 'Subj ümlaut <b>' });
  });

  const base64 = (text: string): string => Buffer.from(text).toString('base64');

  test('URL, headers and body of a webhook are templates with secrets', async (t) => {
    const { delivery, entities } = await ground(t);
    const sink = await requestSink(t);
    const body = '{"t":"{{ escape title }}","f":{{ json fields }},"at":{{timestamp}},"s":"{{severity}}"}';
    const hook = { name: 'hook', method: 'put', url: `http://127.0.0.1:${sink.port}/x/{{url-encode title}}?a={{severity}}`, header: [`name=X-A,value=${base64('Key {{ secrets.pw }}')}`], body: base64(body) };
    await entities.create('webhook', hook, { secret: [`name=pw,value=${base64('secret')}`, 'name=empty'] });
    await delivery.send('hook', message);
    const [request] = sink.requests;
    assert.equal(`${request?.method} ${request?.url}`, 'PUT /x/Subj%20%C3%BCmlaut%20%3Cb%3E?a=error');
    assert.equal(request?.headers['x-a'], 'Key secret');
    assert.equal(request?.headers['content-type'], undefined);
    assert.equal(request?.body, '{"t":"Subj ümlaut <b>","f":{"type":"sync","hostname":"host","datastore":"main"},"at":1795572456,"s":"error"}');
  });

  test('what cannot be sent says why, without URL, headers and secrets', async (t) => {
    let status: number | null = 200;
    const sink = await requestSink(t, () => status);
    const { entities, failure } = await ground(t);
    const url = `http://127.0.0.1:${sink.port}/hidden-{{secrets.pw}}`;
    await entities.create('webhook', { name: 'hook', method: 'post', url }, { secret: [`name=pw,value=${base64('s3cret')}`] });
    const outcome = async (change: object): Promise<string> => {
      await entities.update('webhook', 'hook', { set: { url, body: '', header: [], ...change } });
      const text = await failure('hook');
      assert.ok(!/s3cret|hidden|127\.0\.0\.1:\d+\/h/.test(text), text);
      return text;
    };
    assert.equal(await outcome({}), 'sent');
    assert.match(await outcome({ body: base64('{{ #bad') }), /^final failed to render webhook body: template: /);
    assert.match(await outcome({ body: base64('{{ nohelper title }}') }), /^final failed to render webhook body: template: helper 'nohelper' is not known$/);
    assert.equal(await outcome({ body: 'no base64!' }), 'final body is not valid base64');
    assert.equal(await outcome({ url: `http://127.0.0.1:${sink.port}{{secrets.pw}}` }).catch((e: unknown) => errorChain(e)), "verify section 'hook' failed - parameter verification failed - 'url': value does not match the regex pattern");
    assert.equal(await outcome({ header: [`name=X-A,value=${base64('a\r\nX-B: {{secrets.pw}}')}`] }), 'final failed to build http request: invalid header');
    for (const [code, kind] of [[404, 'final'], [302, 'final'], [429, 'temporary'], [503, 'temporary']] as const) {
      status = code;
      assert.equal(await outcome({}), `${kind} the server answered with status ${code}`);
    }
    status = null;
    const hurried = await ground(t, { limitMs: 100 });
    await hurried.entities.create('webhook', { name: 'hook', method: 'post', url });
    assert.equal(await hurried.failure('hook'), 'temporary no answer within 0.1 s');
    assert.equal(sink.requests.filter(({ url: asked }) => asked === '/elsewhere').length, 0);
    sink.server.close();
    sink.server.closeAllConnections();
    await once(sink.server, 'close');
    assert.match(await outcome({}), /^temporary .*ECONNREFUSED/);
  });

  test('HTTPS only with a certificate that is trusted', async (t) => {
    const { cert, key } = await makeCertificate();
    const sink = await requestSink(t, () => 200, { cert, key });
    for (const [parts, outcome] of [[{ trusted: [cert] }, /^sent$/], [{}, /^temporary self-signed certificate$/]] as const) {
      const { entities, failure } = await ground(t, parts.trusted === undefined ? {} : { trusted: [...parts.trusted] });
      await entities.create('gotify', { name: 'phone', server: `https://localhost:${sink.port}` }, { token: 't' });
      assert.match(await failure('phone'), outcome);
    }
    assert.equal(sink.requests.length, 1);
  });

  test("the node's http-proxy is used, for HTTP and HTTPS", async (t) => {
    const { cert, key } = await makeCertificate();
    const secure = await requestSink(t, () => 200, { cert, key });
    const plain = await requestSink(t);
    const asked: string[] = [];
    const proxy = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (head) => {
        const authority = /^CONNECT (\S+) /.exec(head.toString())![1]!;
        asked.push(authority);
        const onward = connect(Number(authority.split(':')[1]), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 ok\r\n\r\n');
          socket.pipe(onward).pipe(socket);
        });
        onward.on('error', () => socket.destroy());
        socket.on('close', () => onward.destroy());
      });
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => void proxy.close());
    const { entities, failure } = await ground(t, { trusted: [cert], node: `http-proxy: 127.0.0.1:${(proxy.address() as AddressInfo).port}\n` });
    await entities.create('gotify', { name: 'secure', server: `https://localhost:${secure.port}` }, { token: 't' });
    await entities.create('gotify', { name: 'plain', server: `http://localhost:${plain.port}` }, { token: 't' });
    assert.deepEqual([await failure('secure'), await failure('plain')], ['sent', 'sent']);
    assert.deepEqual(asked, [`localhost:${secure.port}`, `localhost:${plain.port}`]);
    assert.deepEqual([secure.requests.length, plain.requests.length], [1, 1]);
  });
});
