import assert from 'node:assert/strict';
import { appendFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { goldenFiles } from '../support/golden.ts';
import { goldenStore } from '../support/datastore.ts';
import { mailSink, requestSink, type RequestSink } from '../support/message-sinks.ts';
import { WholeServer } from '../support/whole-server.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

interface Told {
  title: string;
  severity: string;
  fields: Record<string, string>;
  message: string;
}

interface Ground {
  server: WholeServer;
  sink: RequestSink;
  call: (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, given?: Record<string, unknown>) => Promise<unknown>;
  /** Starts a task and waits for its end, then for everything that is to be told. */
  run: (path: string, given?: Record<string, unknown>) => Promise<Told[]>;
}

/** A server over the golden datastore that tells everything to a webhook. */
async function ground(t: TestContext, settings = ''): Promise<Ground> {
  const copy = await goldenStore();
  const { path } = copy.store;
  copy.store.close();
  t.after(() => copy[Symbol.asyncDispose]());
  const server = await WholeServer.make({
    prepare: async ({ config }) => {
      await writeFile(join(config, 'datastore.cfg'), `datastore: main\n\tpath ${path}\n\ttuning sync-level=none\n${settings}`);
      await writeFile(join(config, 'prune.cfg'), 'prune: pj1\n\tkeep-last 1\n\tschedule daily\n\tstore main\n');
      await writeFile(join(config, 'verification.cfg'), 'verification: vj1\n\tignore-verified false\n\tstore main\n');
      await writeFile(join(config, 'sync.cfg'), 'sync: sj1\n\tremote-store nosuch\n\tstore main\n');
    },
  });
  t.after(() => server[Symbol.asyncDispose]());
  const sink = await requestSink(t);
  const call: Ground['call'] = async (method, path, parameters = {}) => {
    const result = await server.composition.router.call({ method, path, caller: { authId: 'root@pam', remoteAddress: '::1' }, parameters });
    assert.ok(result.ok, `${method} ${path}: ${result.ok ? '' : result.message}`);
    return result.data;
  };
  const body = '{"title":{{json title}},"severity":{{json severity}},"fields":{{json fields}},"message":{{json message}}}';
  await call('POST', '/config/notifications/endpoints/webhook', { name: 'hook', method: 'post', url: `http://127.0.0.1:${sink.port}/`, body: base64(body) });
  await call('POST', '/config/notifications/matchers', { name: 'everything', target: ['hook'] });
  await call('PUT', '/config/notifications/matchers/default-matcher', { disable: true });
  const { tasks, notifications } = server.composition;
  return {
    server,
    sink,
    call,
    run: async (path, given) => {
      const before = sink.requests.length;
      await call('POST', path, given);
      await tasks.idle();
      await notifications.idle();
      return sink.requests.slice(before).map((request) => JSON.parse(request.body) as Told);
    },
  };
}

const host = async (call: Ground['call']): Promise<string> => ((await call('GET', '/config/notifications/matcher-field-values')) as Array<{ field: string; value: string }>).find(({ field }) => field === 'hostname')!.value;

test('runs of garbage collection and of jobs are told at their end, other runs are not', async (t) => {
  const { call, run } = await ground(t);
  const hostname = await host(call);
  const about = (told: Told[]): unknown => told.map(({ title, severity, fields }) => ({ title, severity, fields }));

  const collected = await run('/admin/datastore/main/gc');
  assert.deepEqual(about(collected), [{ title: "Garbage Collect Datastore 'main' successful", severity: 'info', fields: { type: 'gc', datastore: 'main', hostname } }]);
  assert.match(collected[0]!.message, /^Index files: +\d\d$/m);
  assert.match(collected[0]!.message, /^On disk: +[\d.]+ MiB$/m);
  assert.match(collected[0]!.message, /^Task: +UPID:.*:garbage_collection:main:root@pam:$/m);
  const job = { datastore: 'main', hostname };
  assert.deepEqual(about(await run('/admin/prune/pj1/run')), [{ title: "Pruning datastore 'main' successful", severity: 'info', fields: { type: 'prune', 'job-id': 'pj1', ...job } }]);
  assert.deepEqual(about(await run('/admin/verify/vj1/run')), [{ title: "Verify Datastore 'main' successful", severity: 'info', fields: { type: 'verify', 'job-id': 'vj1', ...job } }]);
  const synced = await run('/admin/sync/sj1/run');
  assert.deepEqual(about(synced), [{ title: "Sync datastore 'main' failed", severity: 'error', fields: { type: 'sync', 'job-id': 'sj1', ...job } }]);
  assert.match(synced[0]!.message, /^Reason: .*no such datastore 'nosuch'/m);

  assert.deepEqual(await run('/admin/datastore/main/gc', { 'dry-run': true }), []);
  assert.deepEqual(await run('/admin/prune/pj1/run', { 'dry-run': true }), []);
  assert.deepEqual(await run('/admin/datastore/main/verify', { 'ignore-verified': false }), []);
  assert.deepEqual(await run('/admin/datastore/main/prune-datastore', { 'keep-last': 1 }), []);
});

test('all chunks harmed: one message that names the snapshots, and the next failure of the same kind waits', async (t) => {
  const { run, server, sink, call } = await ground(t);
  const { path } = (await call('GET', '/config/datastore/main')) as { path: string };
  const chunks = goldenFiles().filter(({ name }) => name.startsWith('.chunks/') && name.length > 70);
  for (const { name } of chunks) await appendFile(join(path, name), 'x');
  const [told, ...more] = await run('/admin/verify/vj1/run');
  assert.deepEqual(more, []);
  assert.equal(told?.title, "Verify Datastore 'main' failed");
  assert.match(told.message, /\n\nSnapshots that failed:\n(?: {2}\S+\/\S+Z\n){12}\nReason: verification failed - please check the log for details\n\nServer: /);
  assert.deepEqual(await run('/admin/verify/vj1/run'), []);
  await server.composition.close(0);
  assert.equal(sink.requests.length, 2, 'what was held goes out at the end');
});

test('a verify job that is stopped is not told', async (t) => {
  const { call, server, sink } = await ground(t);
  const upid = (await call('POST', '/admin/verify/vj1/run')) as string;
  server.composition.tasks.abort(upid);
  await server.composition.tasks.idle();
  await server.composition.notifications.idle();
  const result = await server.composition.tasks.result(upid);
  assert.equal(result?.state === 'Error' ? result.message : result?.state, 'verification failed - job aborted');
  assert.deepEqual(sink.requests, []);
});

test('a datastore in mode legacy-sendmail does not ask the matchers', async (t) => {
  const { run, sink } = await ground(t, '\tnotification-mode legacy-sendmail\n\tnotify gc=error\n');
  await run('/admin/datastore/main/gc');
  await run('/admin/sync/sj1/run');
  assert.deepEqual(sink.requests, []);
});

test('the password of a mail server arrives there and nowhere else', async (t) => {
  const { call, server } = await ground(t);
  const mail = await mailSink(t, { authOptional: false });
  await call('POST', '/config/notifications/endpoints/smtp', { name: 'mail', server: '127.0.0.1', port: mail.port, mode: 'insecure', 'from-address': 'a@example.com', mailto: ['ops@example.com'], username: 'backup', password: 'smtp-pw' });
  await call('POST', '/config/notifications/targets/mail/test');
  assert.deepEqual(mail.mails.map(({ to, user }) => ({ to, user })), [{ to: ['ops@example.com'], user: 'backup' }]);
  const shown = [];
  for (const path of ['endpoints/smtp', 'endpoints/smtp/mail', 'targets']) shown.push(await call('GET', `/config/notifications/${path}`));
  assert.ok(!JSON.stringify(shown).includes('smtp-pw'));
  assert.equal((await stat(join(server.paths.config, 'notifications-priv.cfg'))).mode & 0o777, 0o600);
});
