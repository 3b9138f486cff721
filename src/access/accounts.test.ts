import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { accessUnderTest, noYescrypt, type AccessUnderTest } from '../../test/support/accounts.ts';
import { hashPassword } from '../sys/crypt.ts';

const nowMs = 1_795_485_533_000;

function file(access: AccessUnderTest, name: string): string {
  return readFileSync(join(access.paths.config, name), 'utf8');
}

test('users come and go with password, tokens and their ACL entries; their own ACL entries stay', async (t) => {
  const access = await accessUnderTest(t, { nowMs });
  const { changer, accounts } = access;
  await changer.createUser({ userid: 'op@pbs', comment: ' Operator ', enable: true, expire: 0, email: 'a@b.c' }, { password: 'operator-1' });
  assert.equal(file(access, 'user.cfg'), 'user: root@pam\n\tcomment Superuser\n\nuser: op@pbs\n\tcomment Operator\n\temail a@b.c\n');
  assert.equal((await access.login.login({ username: 'op@pbs', password: 'operator-1' })).username, 'op@pbs');
  await assert.rejects(changer.createUser({ userid: 'op@pbs' }), { code: 'config.exists', message: "user 'op@pbs' already exists." });
  await assert.rejects(changer.createUser({ userid: 'op@nowhere' }), { message: "unknown realm 'nowhere'" });
  await assert.rejects(changer.createUser({ userid: 'op@pam' }, { password: 'operator-1' }), { code: 'access.realm' });
  assert.equal(accounts.findUser('op@pam'), undefined, 'a password that cannot be stored leaves no account');

  const secret = await changer.createToken({ tokenid: 'op@pbs!t1' });
  assert.match(secret, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.equal(file(access, 'token.shadow').includes(secret), false);
  assert.match(file(access, 'token.shadow'), /^\{"op@pbs!t1":"\$(y|5)\$/);
  writeFileSync(join(access.paths.config, 'acl.cfg'), 'acl:1:/:op@pbs,op@pbs!t1:Audit\n');

  await changer.deleteUser('op@pbs');
  assert.equal(accounts.exists('op@pbs'), false);
  assert.equal(accounts.exists('op@pbs!t1'), false);
  assert.equal(file(access, 'shadow.json'), '{}');
  assert.equal(file(access, 'token.shadow'), '{}');
  assert.equal(file(access, 'acl.cfg'), 'acl:1:/:op@pbs:Audit\n');
  await assert.rejects(changer.deleteUser('op@pbs'), { message: "user 'op@pbs' does not exist." });
  await assert.rejects(changer.deleteUser('root@pam'), { status: 400 });
});

test('a password left over from an earlier user lets nobody in', async (t) => {
  const access = await accessUnderTest(t, { nowMs });
  writeFileSync(join(access.paths.config, 'shadow.json'), JSON.stringify({ op: await hashPassword('old-password') }));
  await access.changer.createUser({ userid: 'op@pbs' });
  await assert.rejects(access.login.login({ username: 'op@pbs', password: 'old-password' }), { reason: 'invalid credentials' });
  await access.changer.setPassword('op@pbs', 'new-password');
  assert.equal((await access.login.login({ username: 'op@pbs', password: 'new-password' })).username, 'op@pbs');
});

test('a golden secret is verified; a new one voids it at once, also where it was remembered', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  const other = await accessUnderTest(t, { nowMs });
  const golden = '9c2b0f3f-15e5-4389-a683-6e622d5df5f2';
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', golden), true);
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', golden), true);
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', golden.toUpperCase()), false);
  assert.equal(await other.tokens.verifySecret('sync@pbs!offsite', golden), false);
  const secret = await access.changer.regenerateToken('sync@pbs!offsite');
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', golden), false);
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', secret), true);
  // As another process would.
  writeFileSync(join(access.paths.config, 'token.shadow'), '{}');
  assert.equal(await access.tokens.verifySecret('sync@pbs!offsite', secret), false);
  await assert.rejects(access.changer.regenerateToken('sync@pbs!none'), { message: "no such token 'sync@pbs!none'" });
});

test('tokens: one of a name, removed with secret and ACL entries', async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  await assert.rejects(access.changer.createToken({ tokenid: 'sync@pbs!offsite' }), { code: 'config.exists', message: "token 'offsite' for user 'sync@pbs' already exists." });
  await assert.rejects(access.changer.createToken({ tokenid: 'nobody@pbs!tok' }), { message: "no such user 'nobody@pbs'" });
  await access.changer.updateToken('sync@pbs!offsite', { set: { comment: 'x', expire: 5 } });
  assert.deepEqual(access.accounts.getToken('sync@pbs!offsite'), { tokenid: 'sync@pbs!offsite', comment: 'x', expire: 5 });
  assert.equal(access.accounts.inactiveReason('sync@pbs!offsite'), 'token disabled or expired.');
  await assert.rejects(access.changer.deleteToken('sync@pbs!offsite', { digest: '0'.repeat(64) }), { code: 'config.modified' });
  await access.changer.deleteToken('sync@pbs!offsite', { digest: access.accounts.tokens().digest });
  assert.deepEqual(access.accounts.tokens('sync@pbs').records, []);
  assert.equal(file(access, 'token.shadow'), '{}');
  assert.equal(file(access, 'acl.cfg').includes('!offsite'), false);
  assert.equal(file(access, 'acl.cfg').includes('sync@pbs'), true);
});
