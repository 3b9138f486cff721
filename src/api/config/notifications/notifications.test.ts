import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { apiGround, testServer, type TestServer } from '../../../../test/support/api-ground.ts';
import { configFixtures } from '../../../../test/support/installation.ts';
import { HttpError } from '../../../base/errors.ts';
import { datastoreTable } from '../../../config/datastore-config.ts';
import type { InstallationPaths } from '../../../config/home.ts';
import { pruneJobTable, syncJobTable, verifyJobTable } from '../../../config/job-config.ts';
import { notificationFiles } from '../../../config/notification-config.ts';
import { NotificationEntities } from '../../../notify/entities.ts';
import type { Method } from '../../endpoint.ts';
import { notificationTargetEndpoints } from './endpoints.ts';
import { notificationMatcherEndpoints } from './matchers.ts';
import { notificationEndpoints } from './targets.ts';

const root = 'root@pam';
const base = '/config/notifications';
const fixtures = join(configFixtures, 'notifications');

interface Ground {
  server: TestServer;
  paths: InstallationPaths;
  entities: NotificationEntities;
  file: (name: string) => Promise<string>;
  refusal: (method: Method, path: string, given?: Record<string, unknown>) => Promise<string>;
  data: (method: Method, path: string, given?: Record<string, unknown>) => Promise<unknown>;
}

async function ground(t: TestContext, options: { recorded?: boolean } = {}): Promise<Ground> {
  const api = await apiGround(t, 'source', {});
  if (options.recorded === true) for (const name of ['notifications.cfg', 'notifications-priv.cfg']) await copyFile(join(fixtures, name), join(api.paths.config, name));
  const entities = new NotificationEntities(notificationFiles(api.paths));
  const tables = { datastores: datastoreTable(api.paths), pruneJobs: pruneJobTable(api.paths), syncJobs: syncJobTable(api.paths), verifyJobs: verifyJobTable(api.paths) };
  const notifier = { test: (name: string) => Promise.reject(new HttpError(500, `tested ${name}`)) };
  const server = await testServer(t, api, [...notificationTargetEndpoints({ entities }), ...notificationMatcherEndpoints({ entities }), ...notificationEndpoints({ entities, notifier, hostname: 'host', ...tables })]);
  return {
    server,
    paths: api.paths,
    entities,
    file: (name) => readFile(join(api.paths.config, name), 'utf8'),
    refusal: (method, path, given) => server.refusal(root, method, base + path, given),
    data: (method, path, given) => server.data(root, method, base + path, given),
  };
}

const gotify = { name: 'push-phone', server: 'https://gotify.example.com', token: 'tok-123', comment: 'Phone' };
const smtp = {
  name: 'mail-ops',
  server: 'smtp.example.com',
  'from-address': 'backup@example.com',
  mailto: ['ops@example.com', 'admin@example.com'],
  mode: 'starttls',
  port: 587,
  username: 'backup',
  password: 'smtp-pw',
};
const sendmail = { name: 'mail-alice', 'mailto-user': ['alice@pbs'], disable: true, author: 'Me', 'from-address': 'a@b.c', filter: 'foo', origin: 'builtin' };
const webhook = { name: 'hook', method: 'post', url: 'https://hook.example.com/a', header: ['name=X-Token,value=dG9r'], body: 'eyJhIjoxfQ==', secret: ['name=pw,value=c2VjcmV0', 'name=pw2,value=c2VjcmV0'] };
const matcher = {
  name: 'errors-only',
  'match-severity': ['error,warning', 'info'],
  'match-field': ['exact:type=sync'],
  'match-calendar': ['mon..fri 8-17'],
  target: ['mail-ops', 'push-phone'],
  mode: 'any',
  comment: 'Sync trouble',
  'invert-match': false,
};

test('the same commands write the same bytes as the reference, secrets apart and closed', async (t) => {
  const { data, file, paths } = await ground(t);
  await data('POST', '/endpoints/gotify', gotify);
  await data('POST', '/endpoints/smtp', smtp);
  await data('POST', '/endpoints/sendmail', sendmail);
  await data('POST', '/endpoints/webhook', webhook);
  await data('POST', '/matchers', matcher);
  for (const name of ['notifications.cfg', 'notifications-priv.cfg']) assert.equal(await file(name), await readFile(join(fixtures, name), 'utf8'), name);
  assert.equal((await stat(join(paths.config, 'notifications-priv.cfg'))).mode & 0o777, 0o600);
  assert.equal((await stat(join(paths.config, 'notifications.cfg'))).mode & 0o777, 0o640);
});

test('what the reference wrote is read, and shown as by the reference', async (t) => {
  const { data, server, file } = await ground(t, { recorded: true });
  const { token: _t, ...gotifyView } = gotify;
  const { password: _p, ...smtpView } = smtp;
  const { filter: _f, origin: _o, ...sendmailView } = sendmail;
  const user = 'user-created';
  const mailToRoot = { name: 'mail-to-root', comment: "Send mails to root@pam's email address", 'mailto-user': ['root@pam'], origin: 'builtin' };
  assert.deepEqual(await data('GET', '/endpoints/gotify'), [{ ...gotifyView, origin: user }]);
  assert.deepEqual(await data('GET', '/endpoints/smtp/mail-ops'), { ...smtpView, origin: user });
  assert.deepEqual(await data('GET', '/endpoints/sendmail'), [mailToRoot, { ...sendmailView, origin: user }]);
  assert.deepEqual(await data('GET', '/endpoints/webhook/hook'), { ...webhook, secret: ['name=pw', 'name=pw2'], origin: user });
  assert.deepEqual(await data('GET', '/matchers/errors-only'), { ...matcher, origin: user });
  assert.deepEqual((await data('GET', '/matchers') as Array<{ name: string; origin: string }>).map(({ name, origin }) => [name, origin]), [['default-matcher', 'builtin'], ['errors-only', user]]);
  assert.deepEqual(await data('GET', '/targets'), [
    { comment: 'Phone', name: 'push-phone', origin: user, type: 'gotify' },
    { comment: mailToRoot.comment, name: 'mail-to-root', origin: 'builtin', type: 'sendmail' },
    { disable: true, name: 'mail-alice', origin: user, type: 'sendmail' },
    { name: 'mail-ops', origin: user, type: 'smtp' },
    { name: 'hook', origin: user, type: 'webhook' },
  ]);
  const result = await server.call(root, 'GET', `${base}/endpoints/gotify/push-phone`);
  assert.ok(result.ok);
  assert.equal(result.siblings['digest'], createHash('sha256').update(await file('notifications.cfg')).digest('hex'));
});

test('without any file there are the built-in ones', async (t) => {
  const { data } = await ground(t);
  assert.deepEqual(await data('GET', '/targets'), [{ comment: "Send mails to root@pam's email address", name: 'mail-to-root', origin: 'builtin', type: 'sendmail' }]);
  assert.deepEqual(await data('GET', '/matchers/default-matcher'), {
    comment: 'Route everything but successful prune job notifications to mail-to-root',
    'invert-match': true,
    'match-field': ['exact:type=prune'],
    'match-severity': ['info'],
    mode: 'all',
    name: 'default-matcher',
    origin: 'builtin',
    target: ['mail-to-root'],
  });
});

test('a changed built-in entry says so, and is reset by deleting it', async (t) => {
  const { data } = await ground(t);
  await data('PUT', '/endpoints/sendmail/mail-to-root', { comment: 'changed' });
  await data('PUT', '/matchers/default-matcher', { disable: true });
  assert.deepEqual(await data('GET', '/targets'), [{ comment: 'changed', name: 'mail-to-root', origin: 'modified-builtin', type: 'sendmail' }]);
  assert.equal((await data('GET', '/matchers/default-matcher') as { origin: string }).origin, 'modified-builtin');
  await data('DELETE', '/endpoints/sendmail/mail-to-root');
  await data('DELETE', '/matchers/default-matcher');
  await data('DELETE', '/matchers/default-matcher');
  assert.equal((await data('GET', '/endpoints/sendmail/mail-to-root') as { origin: string }).origin, 'builtin');
  assert.equal((await data('GET', '/matchers/default-matcher') as { disable?: boolean }).disable, undefined);
});

test('secrets of a webhook: a list replaces the list, a name alone keeps its value', async (t) => {
  const { data, file, refusal } = await ground(t, { recorded: true });
  await data('PUT', '/endpoints/webhook/hook', { secret: ['name=pw', 'name=new,value=YQ=='] });
  assert.match(await file('notifications-priv.cfg'), /webhook: hook\n\tsecret name=pw,value=c2VjcmV0\n\tsecret name=new,value=YQ==\n$/);
  await data('PUT', '/endpoints/webhook/hook', { comment: 'kept' });
  assert.match(await file('notifications-priv.cfg'), /secret name=new,value=YQ==\n$/);
  await data('PUT', '/endpoints/webhook/hook', { delete: ['secret', 'comment'] });
  assert.match(await file('notifications-priv.cfg'), /\n\nwebhook: hook\n$/);
  assert.equal(await refusal('PUT', '/endpoints/webhook/hook', { secret: ['name=zz'] }), "400 secret 'zz' not known");
});

test('passwords and tokens are replaced, deleted, and go with their target', async (t) => {
  const { data, file } = await ground(t, { recorded: true });
  await data('PUT', '/endpoints/gotify/push-phone', { token: 'neu', server: 'nourl' });
  await data('PUT', '/endpoints/smtp/mail-ops', { delete: ['password', 'username'], port: 25 });
  assert.equal(await file('notifications-priv.cfg'), 'gotify: push-phone\n\ttoken neu\n\nsmtp: mail-ops\n\nwebhook: hook\n\tsecret name=pw,value=c2VjcmV0\n\tsecret name=pw2,value=c2VjcmV0\n');
  await data('PUT', '/matchers/errors-only', { delete: ['target'] });
  await data('DELETE', '/endpoints/smtp/mail-ops');
  await data('DELETE', '/endpoints/gotify/push-phone');
  assert.equal(await file('notifications-priv.cfg'), 'webhook: hook\n\tsecret name=pw,value=c2VjcmV0\n\tsecret name=pw2,value=c2VjcmV0\n');
});

test('a comment is stored as it is given, also an empty one', async (t) => {
  const { data } = await ground(t, { recorded: true });
  await data('PUT', '/endpoints/gotify/push-phone', { comment: '' });
  assert.equal((await data('GET', '/endpoints/gotify/push-phone') as { comment: string }).comment, '');
});

suite('refusals in the words of the reference', () => {
  const digest = '0'.repeat(64);
  const cases: Array<[method: Method, path: string, given: Record<string, unknown>, answer: string]> = [
    ['GET', '/endpoints/smtp/nosuch', {}, "404 endpoint 'nosuch' not found"],
    ['GET', '/endpoints/smtp/mail-alice', {}, "404 endpoint 'mail-alice' not found"],
    ['GET', '/matchers/nosuch', {}, "404 matcher 'nosuch' not found"],
    ['DELETE', '/endpoints/sendmail/mail-ops', {}, "404 endpoint 'mail-ops' not found"],
    ['DELETE', '/endpoints/smtp/mail-ops', {}, "400 cannot delete 'mail-ops', referenced by: errors-only"],
    ['DELETE', '/matchers/nosuch', {}, "404 matcher 'nosuch' not found"],
    ['POST', '/endpoints/gotify', { name: 'mail-ops', server: 'x', token: 'y' }, "400 Cannot create 'mail-ops', an entity with the same name already exists"],
    ['POST', '/endpoints/gotify', { name: 'default-matcher', server: 'x', token: 'y' }, "400 Cannot create 'default-matcher', an entity with the same name already exists"],
    ['POST', '/endpoints/gotify', { name: 'zzz' }, "400 parameter verification failed:\n- 'server': property is missing and it is not optional\n- 'token': property is missing and it is not optional"],
    ['POST', '/endpoints/sendmail', { name: 'zzz' }, '400 must at least provide one recipient, either in mailto or in mailto-user'],
    ['POST', '/endpoints/smtp', { name: 'zzz', server: 's', 'from-address': 'a' }, '400 must at least provide one recipient, either in mailto or in mailto-user'],
    ['POST', '/endpoints/webhook', { name: 'zzz', url: 'foo', method: 'post' }, "400 parameter verification failed - 'url': value does not match the regex pattern"],
    ['POST', '/matchers', { name: 'mm1', target: ['nosuch'] }, "404 endpoint 'nosuch' does not exist"],
    ['POST', '/matchers', { name: 'mm1', 'match-severity': ['bad'] }, '400 invalid severity bad'],
    ['POST', '/matchers', { name: 'mm1', 'match-field': ['bad'] }, '400 could not apply filter: invalid match-field statement: bad'],
    ['POST', '/matchers', { name: 'hook' }, "400 Cannot create 'hook', an entity with the same name already exists"],
    ['PUT', '/matchers/errors-only', { target: ['nosuch'] }, "404 endpoint 'nosuch' does not exist"],
    ['PUT', '/matchers/errors-only', { digest }, '400 detected modified configuration - file changed by other user? Try again.'],
    ['PUT', '/endpoints/webhook/hook', { header: ['name=zz,value=%'] }, "400 header 'zz' does not have valid base64 encoded data"],
    ['PUT', '/endpoints/sendmail/mail-alice', { delete: ['mailto-user'] }, '400 must at least provide one recipient, either in mailto or in mailto-user'],
    ['PUT', '/endpoints/sendmail/nosuch', { comment: 'x' }, "404 endpoint 'nosuch' not found"],
    ['POST', '/targets/hook/test', {}, '500 tested hook'],
  ];
  for (const [method, path, given, answer] of cases) {
    test(`${method} ${path} ${JSON.stringify(given)}`, async (t) => {
      const { refusal, file } = await ground(t, { recorded: true });
      assert.equal(await refusal(method, path, given), answer);
      for (const name of ['notifications.cfg', 'notifications-priv.cfg']) assert.equal(await file(name), await readFile(join(fixtures, name), 'utf8'), 'nothing was changed');
    });
  }
});

test('names of fields, and values that they have here', async (t) => {
  const { data, paths } = await ground(t);
  await writeFile(join(paths.config, 'datastore.cfg'), 'datastore: main\n\tpath /data/main\n');
  await writeFile(join(paths.config, 'prune.cfg'), 'prune: pj1\n\tcomment Prune it\n\tschedule daily\n\tstore main\n');
  await writeFile(join(paths.config, 'sync.cfg'), '');
  await writeFile(join(paths.config, 'verification.cfg'), 'verification: vj1\n\tstore main\n');
  assert.deepEqual(await data('GET', '/matcher-fields'), ['contract', 'datastore', 'hostname', 'job-id', 'media-pool', 'type'].map((name) => ({ name })));
  const values = (await data('GET', '/matcher-field-values')) as Array<{ comment: string | null; field: string; value: string }>;
  assert.deepEqual(values.slice(0, 4), [
    { comment: null, field: 'datastore', value: 'main' },
    { comment: null, field: 'hostname', value: 'host' },
    { comment: 'Prune it', field: 'job-id', value: 'pj1' },
    { comment: null, field: 'job-id', value: 'vj1' },
  ]);
  assert.deepEqual(values.slice(4).map(({ field, value }) => `${field} ${value}`), ['acme', 'freshness', 'gc', 'package-updates', 'prune', 'sync', 'system-mail', 'tape-backup', 'tape-load', 'thresholds', 'verify'].map((type) => `type ${type}`));
});
