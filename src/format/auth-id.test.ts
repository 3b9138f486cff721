import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from '../base/errors.ts';
import { isAuthId, isOwner, isRealm, isSafeId, isUserId, realmOf, tokenNameOf, userNameOf, userOf } from './auth-id.ts';

test('users and tokens', () => {
  assert.ok(isUserId('root@pam') && isAuthId('root@pam'));
  assert.ok(isAuthId('sync@pbs!offsite') && !isUserId('sync@pbs!offsite'));
  assert.deepEqual([userOf('sync@pbs!offsite'), tokenNameOf('sync@pbs!offsite')], ['sync@pbs', 'offsite']);
  assert.deepEqual([userOf('root@pam'), tokenNameOf('root@pam'), userNameOf('root@pam'), realmOf('root@pam')], ['root@pam', null, 'root', 'pam']);
});

test('the realm follows the last @, the token the last ! behind it', () => {
  assert.deepEqual([userNameOf('a@b.org@ad'), realmOf('a@b.org@ad')], ['a@b.org', 'ad']);
  assert.equal(tokenNameOf('we!rd@pbs'), null);
  assert.equal(userOf('we!rd@pbs!tok'), 'we!rd@pbs');
});

test('what is neither is refused', () => {
  for (const text of ['', 'root', '@pam', 'a@b', 'a b@pam', 'a/b@pam', 'a:b@pam', 'a\n@pam', 'a@p!', 'root@pam!', 'root@pam!a!b', 'root@pam!-x', `${'x'.repeat(61)}@pam`, 'a@-x', '../x']) {
    assert.ok(!isAuthId(text), text);
    assert.throws(() => userOf(text), FormatError);
  }
});

test('safe ids and realms', () => {
  for (const text of ['a', '_x', '0.-']) assert.ok(isSafeId(text));
  for (const text of ['', '.a', '-a', 'a/b', 'ä', 'a\n', '..']) assert.ok(!isSafeId(text));
  assert.ok(!isSafeId('ab', 3) && !isSafeId('abcd', 1, 3));
  assert.ok(isRealm('pbs') && !isRealm('p'));
});

test('the owner of a token owns what the token owns, not the other way round', () => {
  assert.ok(isOwner('a@pbs', 'a@pbs'));
  assert.ok(isOwner('a@pbs!t', 'a@pbs'));
  assert.ok(!isOwner('a@pbs', 'a@pbs!t'));
  assert.ok(!isOwner('a@pbs!t', 'a@pbs!u'));
  assert.ok(!isOwner('a@pbs', 'b@pbs'));
});
