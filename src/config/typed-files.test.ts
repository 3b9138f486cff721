import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { domainFile, pbsType, realmsOf } from './domain-config.ts';
import { settingsFile } from './farshore-config.ts';
import { secretPlace, serviceSecretPlace, sharedPlace } from './files.ts';
import { nodeFile } from './node-config.ts';
import { changedRecord } from './section-table.ts';
import { shadowFile, tokenShadowFile } from './shadow-config.ts';
import { tfaFile } from './tfa-config.ts';
import { tokenType, userFile, userType } from './user-config.ts';

test('shadow.json and token.shadow keep the form of the reference', async (t) => {
  const paths = await temporaryInstallation(t, 'source');
  const passwords = shadowFile(paths);
  const text = readFileSync(passwords.path, 'utf8');
  await passwords.update((table) => table.set('zoe', '$y$x'));
  assert.equal(readFileSync(passwords.path, 'utf8'), text.replace('"\n}', '",\n  "zoe": "$y$x"\n}'));
  assert.equal(statSync(passwords.path).mode & 0o777, 0o600);
  const secrets = tokenShadowFile(paths);
  const compact = readFileSync(secrets.path, 'utf8');
  await secrets.update((table) => table.set('__proto__', '$y$x'));
  assert.equal(readFileSync(secrets.path, 'utf8'), compact.replace('"}', '","__proto__":"$y$x"}'));
  assert.equal(secrets.load().value.get('__proto__'), '$y$x');
  for (const bad of ['[]', '{"a":1}', '{"a":"$y$secret"', 'null']) {
    writeFileSync(passwords.path, bad);
    assert.throws(() => passwords.load(), (e: Error & { code?: string }) => e.code === 'config.syntax' && !e.message.includes('secret') && e.cause === undefined, bad);
  }
});

test('root@pam is always there', async (t) => {
  const file = userFile(await temporaryInstallation(t));
  assert.deepEqual(file.load().value.list(userType), [{ userid: 'root@pam', comment: 'Superuser' }]);
  assert.equal(file.load().digest, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  await file.update((config) => config.set(tokenType, { tokenid: 'root@pam!t1', comment: 'x' }));
  assert.equal(readFileSync(file.path, 'utf8'), 'user: root@pam\n\tcomment Superuser\n\ntoken: root@pam!t1\n\tcomment x\n');
});

test('the realms pam and pbs are always there', async (t) => {
  const golden = domainFile(await temporaryInstallation(t, 'source'));
  const file = domainFile(await temporaryInstallation(t));
  assert.equal(file.load().value.serialize(), readFileSync(golden.path, 'utf8'));
  writeFileSync(file.path, 'pbs: pbs\n\tdefault true\n\ttype pbs\n');
  assert.deepEqual(realmsOf(file.load().value), [
    { realm: 'pbs', type: 'pbs', default: true },
    { realm: 'pam', type: 'pam', comment: 'Linux PAM standard authentication' },
  ]);
  assert.equal(file.load().value.get(pbsType, 'pbs').type, 'pbs');
});

test('node.cfg: description, comments, values; unknown keys are refused', async (t) => {
  const file = nodeFile(await temporaryInstallation(t));
  const text = '#first line\n# second: line\nemail-from: a@b.c\nhttp-proxy: http://proxy:3128\ntask-log-max-days: 30\n# a remark\n';
  writeFileSync(file.path, text);
  assert.deepEqual(file.load().value.record, { description: 'first line\n second: line\n', 'email-from': 'a@b.c', 'http-proxy': 'http://proxy:3128', 'task-log-max-days': 30 });
  assert.equal(await file.update(({ record }) => record['task-log-max-days']), 30);
  assert.equal(readFileSync(file.path, 'utf8'), text);
  await file.update((content) => {
    content.record = { ...content.record, 'default-lang': 'de', 'email-from': 'x@y.z' };
    delete content.record.description;
  });
  assert.equal(readFileSync(file.path, 'utf8'), 'default-lang: de\nemail-from: x@y.z\nhttp-proxy: http://proxy:3128\ntask-log-max-days: 30\n# a remark\n');
  for (const bad of ['nosuch: 1\n', 'description: x\n', 'email-from\n', 'task-log-max-days: -1\n', 'acme: a\nacme: b\n', '__proto__: x\n', 'location: latitude=91\n']) {
    writeFileSync(file.path, bad);
    assert.throws(() => file.load(), { code: 'config.syntax' }, bad);
  }
});

test('farshore.json keeps what it does not know, tfa.json fails when it is not understood', async (t) => {
  const paths = await temporaryInstallation(t);
  const settings = settingsFile(paths);
  writeFileSync(settings.path, '{"later": [1], "plain-remote-secrets": false}');
  await settings.update((content) => {
    content['plain-remote-secrets'] = true;
  });
  assert.deepEqual(JSON.parse(readFileSync(settings.path, 'utf8')), { later: [1], 'plain-remote-secrets': true });
  writeFileSync(settings.path, '{"plain-remote-secrets": "yes"}');
  assert.throws(() => settings.load(), { code: 'config.syntax' });

  const tfa = tfaFile(paths);
  assert.deepEqual(tfa.load().value, { users: {} });
  for (const bad of ['[]', '{"users":[]}', '{"users":{"a@pbs":{"totp":{}}}}', '{"users":{"a@pbs":{"recovery":{"secret":1}}}}', '{']) {
    writeFileSync(tfa.path, bad);
    assert.throws(() => tfa.load(), { code: 'config.syntax' }, bad);
  }
});

test("in the reference's folders files have its owners and modes", async (t) => {
  const paths = { ...(await temporaryInstallation(t)), serviceUser: { uid: 34, gid: 35 } };
  const { path, lock, rights, lockRights } = sharedPlace(paths, 'user.cfg');
  assert.deepEqual([path, lock], [join(paths.config, 'user.cfg'), join(paths.config, '.user.lck')]);
  assert.deepEqual([rights, lockRights], [{ mode: 0o640, owner: { uid: 0, gid: 35 } }, { mode: 0o660, owner: { uid: 34, gid: 35 } }]);
  assert.deepEqual(secretPlace(paths, 'shadow.json').rights, { mode: 0o600, owner: { uid: 0, gid: 0 } });
  assert.equal(secretPlace(paths, 'shadow.json').lock, join(paths.config, 'shadow.json.lock'));
  assert.deepEqual(serviceSecretPlace(paths, 'token.shadow').rights, { mode: 0o640, owner: { uid: 34, gid: 35 } });
});

test('records change as the API changes them: delete, then set, comments trimmed', () => {
  const record: { id: string; comment?: string; ns?: string } = { id: 'a', comment: 'x', ns: 'y' };
  assert.deepEqual(changedRecord(record, { delete: ['ns'], set: { comment: '  ' } }), { id: 'a' });
  assert.deepEqual(changedRecord(record, { delete: ['ns', 'comment'], set: { comment: ' z ', ns: undefined } }), { id: 'a', comment: 'z' });
  assert.deepEqual(changedRecord(record, { set: { comment: ' ' } }, { keepComment: true }), { id: 'a', comment: ' ', ns: 'y' });
  assert.deepEqual(record, { id: 'a', comment: 'x', ns: 'y' });
});
