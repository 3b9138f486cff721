import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { silentLog } from '../base/log.ts';
import { notificationFiles } from '../config/notification-config.ts';
import { builtinTemplates, type TemplateName } from './builtin-templates.ts';
import { deliveryError, nobodySetUp } from './delivery-error.ts';
import { NotificationEntities } from './entities.ts';
import { MessageTexts, type Message, type NotificationEvent } from './message.ts';
import { Notifier } from './notifier.ts';

interface Ground {
  notifier: Notifier;
  entities: NotificationEntities;
  clock: ManualClock;
  /** `target: title` in order of delivery. */
  sent: string[];
  messages: Message[];
  /** What the log complained of. */
  complaints: string[];
  /** Waits between tries, in seconds. */
  waits: number[];
  templates: string;
}

async function ground(t: TestContext, options: { fail?: (target: string, tries: number) => Error | null; maxWaiting?: number; hold?: Promise<void> } = {}): Promise<Ground> {
  const paths = await temporaryInstallation(t);
  const entities = new NotificationEntities(notificationFiles(paths));
  const clock = new ManualClock('2026-11-25T10:00:00Z');
  const made = { sent: [] as string[], messages: [] as Message[], complaints: [] as string[], waits: [] as number[] };
  const complain = (line: string): void => void made.complaints.push(line);
  const log = { ...silentLog, warn: complain, error: complain };
  const templates = join(paths.config, 'notification-templates', 'default');
  let tries = 0;
  const notifier = new Notifier({
    entities,
    texts: new MessageTexts({ folder: templates, host: { hostname: 'host', fqdn: 'host.example.com', baseUrl: 'https://host.example.com:8007' }, log }),
    delivery: {
      send: async (target, message) => {
        await options.hold;
        tries += 1;
        const failure = options.fail?.(target, tries) ?? null;
        if (failure !== null) throw failure;
        made.sent.push(`${target}: ${message.title}`);
        made.messages.push(message);
      },
    },
    hostname: 'host',
    clock,
    log,
    outbox: {
      ...(options.maxWaiting === undefined ? {} : { maxWaiting: options.maxWaiting }),
      pause: (milliseconds) => {
        made.waits.push(milliseconds / 1000);
        return Promise.resolve();
      },
    },
  });
  return { notifier, entities, clock, templates, ...made };
}

function event(template: TemplateName, more: Partial<NotificationEvent> = {}): NotificationEvent {
  const [type = '', outcome] = template.split('-');
  const isError = outcome === 'err';
  return {
    template,
    severity: isError ? 'error' : 'info',
    fields: { type, datastore: 'main' },
    data: { datastore: 'main', 'job-id': 'nightly', upid: 'UPID:x', ...(isError ? { error: 'disk <broken>' } : {}) },
    time: Date.parse('2026-11-25T10:00:00Z') / 1000,
    cause: isError ? `${type} main disk` : null,
    ...more,
  };
}

const temporary = (): Error => deliveryError('later', { isTemporary: true });
const final = (): Error => deliveryError('never', { isTemporary: false });

suite('matchers and targets', () => {
  test('the default: everything but successful prune jobs, to root', async (t) => {
    const { notifier, sent } = await ground(t);
    for (const template of ['gc-ok', 'prune-ok', 'prune-err', 'sync-ok', 'verify-err'] as const) notifier.notify(event(template));
    await notifier.idle();
    assert.deepEqual(sent.toSorted(), ["mail-to-root: Garbage Collect Datastore 'main' successful", "mail-to-root: Pruning datastore 'main' failed", "mail-to-root: Sync datastore 'main' successful", "mail-to-root: Verify Datastore 'main' failed"]);
  });

  test('host name as field; a disabled target gets nothing; one target that fails does not keep others back', async (t) => {
    const { notifier, entities, sent, complaints } = await ground(t, { fail: (target) => (target === 'bad' ? final() : null) });
    for (const name of ['bad', 'good', 'off']) await entities.create('gotify', { name, server: 'http://x', ...(name === 'off' ? { disable: true } : {}) });
    await entities.create('matcher', { name: 'mine', 'match-field': ['exact:hostname=host'], target: ['bad', 'off', 'good'] });
    notifier.notify(event('prune-ok'));
    await notifier.idle();
    assert.deepEqual(sent, ["good: Pruning datastore 'main' successful"]);
    assert.deepEqual(complaints, ["could not notify via target 'bad' (Pruning datastore 'main' successful): never; given up after 1 try"]);
  });

  test('a broken configuration file does not fail who notifies', async (t) => {
    const { notifier, complaints, templates } = await ground(t);
    await writeFile(join(templates, '..', '..', 'notifications.cfg'), 'nonsense\n');
    notifier.notify(event('gc-ok'));
    await notifier.idle();
    assert.match(complaints.join('\n'), /^unable to notify of 'gc-ok': parsing ".*notifications\.cfg" failed: line 1/);
  });
});

suite('gathering', () => {
  test('a thousand failures for the same reason are two messages', async (t) => {
    const { notifier, clock, sent, messages } = await ground(t);
    for (let i = 0; i < 1000; i += 1) notifier.notify(event('verify-err'));
    await notifier.idle();
    notifier.tick();
    await notifier.idle();
    assert.equal(sent.length, 1);
    clock.set('2026-11-25T10:15:00Z');
    notifier.tick();
    await notifier.idle();
    assert.deepEqual(sent, ["mail-to-root: Verify Datastore 'main' failed", "mail-to-root: Verify Datastore 'main' failed (999 times)"]);
    assert.match(messages[1]!.text, /999 more times from .* to .*:\n\n {2}999 x Verify Datastore 'main' failed\n\nThe last one:\n\n/);
    assert.match(messages[1]!.html, /disk &lt;broken&gt;/);
  });

  test('while it goes on there is one message in a window that grows; when it is over the next failure is told at once', async (t) => {
    const { notifier, clock, sent } = await ground(t);
    const start = clock.ms;
    const at: number[] = [];
    for (let minute = 0; minute < 1440; minute += 1) {
      clock.ms = start + minute * 60_000;
      notifier.tick();
      notifier.notify(event('gc-err'));
      await notifier.idle();
      if (sent.length > at.length) at.push(minute);
    }
    assert.deepEqual(at, [0, 15, 45, 105, 225, 465, 705, 945, 1185, 1425]);
    clock.ms += 9 * 3600_000;
    notifier.tick();
    clock.ms += 9 * 3600_000;
    notifier.tick();
    await notifier.idle();
    const before = sent.length;
    notifier.notify(event('gc-err'));
    await notifier.idle();
    assert.equal(sent.length, before + 1);
  });

  test('other causes, other targets and successes are told each', async (t) => {
    const { notifier, entities, sent } = await ground(t);
    await entities.create('gotify', { name: 'phone', server: 'http://x' });
    await entities.create('matcher', { name: 'mine', 'match-field': ['exact:job-id=other'], target: ['phone'] });
    const other = { type: 'gc', datastore: 'main', 'job-id': 'other' };
    for (const one of [event('gc-err'), event('gc-err', { cause: 'gc main line' }), event('gc-err', { fields: other }), event('gc-ok'), event('gc-ok')]) notifier.notify(one);
    await notifier.idle();
    assert.deepEqual(sent.map((line) => line.replace(/ Garbage.*'main'/, '')).toSorted(), ['mail-to-root: failed', 'mail-to-root: failed', 'mail-to-root: successful', 'mail-to-root: successful', 'phone: failed']);
  });

  test('what is held goes out when the server stops', async (t) => {
    const { notifier, sent } = await ground(t);
    for (let i = 0; i < 3; i += 1) notifier.notify(event('gc-err'));
    await notifier.close(10_000);
    assert.deepEqual(sent, ["mail-to-root: Garbage Collect Datastore 'main' failed", "mail-to-root: Garbage Collect Datastore 'main' failed (2 times)"]);
  });
});

suite('delivery', () => {
  test('what fails for now is tried again, so many times', async (t) => {
    const second = await ground(t, { fail: (_, tries) => (tries < 3 ? temporary() : null) });
    second.notifier.notify(event('gc-ok'));
    await second.notifier.idle();
    assert.deepEqual([second.waits, second.sent.length], [[10, 60], 1]);
    const never = await ground(t, { fail: temporary });
    never.notifier.notify(event('gc-ok'));
    await never.notifier.idle();
    assert.deepEqual(never.waits, [10, 60, 300]);
    assert.match(never.complaints.at(-1)!, /later; given up after 4 tries$/);
  });

  test('a server on which nobody has said who is to be told does not complain', async (t) => {
    const { notifier, complaints } = await ground(t, { fail: () => nobodySetUp('no recipients') });
    notifier.notify(event('gc-ok'));
    await notifier.idle();
    assert.deepEqual(complaints, []);
  });

  test('no more wait than is allowed; the log tells what was dropped', async (t) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { notifier, sent, complaints } = await ground(t, { maxWaiting: 2, hold: promise });
    for (let i = 0; i < 5; i += 1) notifier.notify(event('gc-ok'));
    while (complaints.length < 3) await new Promise((later) => setTimeout(later, 2));
    resolve();
    await notifier.idle();
    assert.equal(sent.length, 2);
    assert.equal(complaints[0], "notification 'Garbage Collect Datastore 'main' successful' for target 'mail-to-root' is dropped: 2 are waiting already");
  });

  test('stopping does not wait for a target that hangs; the log tells what was lost', async (t) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { notifier, complaints } = await ground(t, { hold: promise });
    notifier.notify(event('gc-ok'));
    notifier.notify(event('sync-ok'));
    await notifier.close(10);
    assert.equal(complaints.filter((line) => line.endsWith("for target 'mail-to-root' is lost: the server stops")).length, 2);
    resolve();
    await notifier.idle();
  });

  test('the test message, and why it fails', async (t) => {
    const good = await ground(t);
    await good.notifier.test('mail-to-root');
    assert.deepEqual(good.sent, ['mail-to-root: Test notification for mail-to-root']);
    assert.deepEqual(good.messages[0]?.fields, {});
    await assert.rejects(good.notifier.test('nosuch'), { code: 'http.404', message: "endpoint 'nosuch' does not exist" });
    const bad = await ground(t, { fail: final });
    await assert.rejects(bad.notifier.test('mail-to-root'), { code: 'http.500', message: 'Could not test target: could not notify via endpoint(s): mail-to-root: never' });
  });
});

suite('texts', () => {
  const data = {
    'gc-ok': { 'index-data-bytes': 4096, 'disk-bytes': 1024, 'disk-chunks': 0, 'deduplication-factor': '4.00' },
    'sync-err': { remote: 'hq', 'remote-datastore': 'main', error: 'a <b>' },
    'verify-err': { 'failed-snapshot-list': ['vm/100/2026-11-25T10:00:00Z', '<x>'], error: 'look' },
  } as const;

  test('every one has a subject, a text and HTML, without anything left of a template', async (t) => {
    const { notifier, messages, entities } = await ground(t);
    await entities.create('matcher', { name: 'all', target: ['mail-to-root'] });
    for (const template of Object.keys(builtinTemplates) as TemplateName[]) {
      notifier.notify(event(template, { cause: null, data: { ...event(template).data, target: 'x', contract: 'c1', reason: 'why', ...(data as Partial<Record<TemplateName, object>>)[template] } }));
    }
    await notifier.idle();
    assert.equal(messages.length, Object.keys(builtinTemplates).length);
    for (const { title, text, html } of messages) {
      assert.ok(title.length > 10 && text.length > 40 && html.startsWith('<html>') && html.endsWith('</html>'), title);
      assert.doesNotMatch(title + text + html, /\{\{|\}\}|undefined|null|\[object/);
    }
    const of = (title: string): Message => messages.find((message) => message.title === title)!;
    assert.match(of("Garbage Collect Datastore 'main' successful").text, /^On disk: +1 KiB$/m);
    assert.match(of("Garbage Collect Datastore 'main' successful").text, /^Chunks on disk: +0$/m);
    assert.match(of("Sync remote 'hq' datastore 'main' failed").html, /a &lt;b&gt;/);
    assert.match(of("Sync remote 'hq' datastore 'main' failed").text, /^Reason: a <b>$/m);
    assert.match(of("Verify Datastore 'main' failed").text, /\n {2}vm\/100\/2026-11-25T10:00:00Z\n {2}<x>\n/);
    assert.match(of("Verify Datastore 'main' failed").html, /<li>&lt;x&gt;<\/li>/);
  });

  test("an administrator's templates replace ours; a wrong one does not keep the message back", async (t) => {
    const { notifier, messages, complaints, templates } = await ground(t);
    await mkdir(templates, { recursive: true });
    await writeFile(join(templates, 'gc-ok-subject.txt.hbs'), 'GC {{datastore}}\nX-Evil: 1\n');
    await writeFile(join(templates, 'gc-ok-body.txt.hbs'), 'on {{fqdn}} <{{base-url}}>\n');
    await writeFile(join(templates, 'sync-ok-body.txt.hbs'), '{{#if}');
    notifier.notify(event('gc-ok'));
    await notifier.idle();
    assert.deepEqual([messages[0]?.title, messages[0]?.text, messages[0]?.html], ['GC main X-Evil: 1', 'on host.example.com <https://host.example.com:8007>\n', '<html><body><pre>on host.example.com &lt;https://host.example.com:8007&gt;\n</pre></body></html>']);
    await writeFile(join(templates, 'gc-ok-body.html.hbs'), '<p>{{fqdn}}</p>');
    notifier.notify(event('gc-ok'));
    notifier.notify(event('sync-ok'));
    await notifier.idle();
    assert.equal(messages[1]?.html, '<p>host.example.com</p>');
    assert.match(messages[2]!.text, /Sync job 'nightly' on host ended well/);
    assert.match(complaints[0]!, /notification template ".*sync-ok-body\.txt\.hbs" is not used: template: /);
  });
});
