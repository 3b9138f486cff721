import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { accessUnderTest, noYescrypt } from '../../test/support/accounts.ts';
import { configFixtures } from '../../test/support/installation.ts';
import { AuthenticationError, credentialsFrom, ticketFromCookies, tokenFromAuthorization, type Credentials } from './authenticator.ts';

const recorded = readFileSync(join(configFixtures, 'logins.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as { authorization?: string; cookie?: string; csrfpreventiontoken?: string });
const authorization = recorded.find((one) => one.authorization !== undefined)!.authorization!;
const byCookie = recorded.find((one) => one.cookie !== undefined)!;
const cookie = byCookie.cookie!;
const csrfToken = byCookie.csrfpreventiontoken!;
const recordedMs = Number.parseInt(cookie.split(':')[2]!, 16) * 1000;

function credentials(part: Partial<Credentials>): Credentials {
  return { method: 'GET', cookies: [], authorization: undefined, csrfToken: undefined, ...part };
}

test('recorded requests are authenticated with the recorded configuration', { skip: noYescrypt }, async (t) => {
  const { authenticator } = await accessUnderTest(t, { golden: 'source', nowMs: recordedMs });
  assert.equal(await authenticator.authenticate(credentials({ authorization })), 'sync@pbs!offsite');
  assert.equal(await authenticator.authenticate(credentials({ authorization: authorization.replace(' ', '='), method: 'DELETE' })), 'sync@pbs!offsite');
  assert.equal(await authenticator.authenticate(credentials({ cookies: [cookie] })), 'admin@pbs');
  assert.equal(await authenticator.authenticate(credentials({ cookies: [cookie], csrfToken, method: 'POST' })), 'admin@pbs');
  const encoded = `a=b; PBSAuthCookie=${encodeURIComponent(cookie.slice('PBSAuthCookie='.length))}`;
  assert.equal(await authenticator.authenticate(credentials({ cookies: ['x=1', encoded] })), 'admin@pbs');
});

test('everything else is refused with one text, the reason is for the log', { skip: noYescrypt }, async (t) => {
  const { authenticator, changer } = await accessUnderTest(t, { golden: 'source', nowMs: recordedMs });
  const reason = async (part: Partial<Credentials>): Promise<string> => {
    try {
      await authenticator.authenticate(credentials(part));
    } catch (e) {
      assert.ok(e instanceof AuthenticationError);
      assert.deepEqual([e.status, e.message, e.hint], [401, 'authentication failed', undefined]);
      return e.reason;
    }
    return assert.fail('authenticated');
  };
  assert.equal(await reason({}), 'no authentication credentials provided.');
  assert.equal(await reason({ authorization: 'Basic YTpi' }), 'no authentication credentials provided.');
  assert.equal(await reason({ authorization: 'PBSAPIToken:x' }), 'no authentication credentials provided.');
  assert.equal(await reason({ authorization: `${authorization}x` }), 'invalid credentials');
  assert.equal(await reason({ authorization: 'PBSAPIToken=sync@pbs!offsite:' }), 'invalid credentials');
  assert.equal(await reason({ authorization: 'PBSAPIToken=admin@pbs:labsecret123' }), 'malformed API token');
  assert.equal(await reason({ authorization: 'PBSAPIToken=sync@pbs!offsite' }), 'malformed API token');
  assert.equal(await reason({ authorization: 'PBSAPIToken=sync@pbs!offsite:%zz' }), 'malformed API token');
  assert.equal(await reason({ authorization: 'PBSAPIToken=sync@pbs!other:x' }), 'token disabled or expired.');
  assert.equal(await reason({ cookies: [cookie], method: 'POST' }), 'missing CSRF prevention token');
  assert.match(await reason({ cookies: [cookie], method: 'PUT', csrfToken: csrfToken.replace(/.$/, 'B') }), /CSRF/);
  assert.match(await reason({ cookies: ['PBSAuthCookie=old'], authorization }), /malformed/, 'a ticket hides the token');
  await changer.updateToken('sync@pbs!offsite', { set: { enable: false } });
  assert.equal(await reason({ authorization }), 'token disabled or expired.');
  await changer.updateToken('sync@pbs!offsite', { set: { enable: true } });
  await changer.updateUser('sync@pbs', { set: { enable: false } });
  assert.equal(await reason({ authorization }), 'user account disabled or expired.');
});

test('headers are taken apart as the reference does it', () => {
  assert.deepEqual(credentialsFrom('PUT', ['Cookie', 'a=1', 'cookie', 'b=2', 'Authorization', 'PBSAPIToken x', 'CSRFPreventionToken', 't', 'Host', 'h', 'authorization', 'second']), {
    method: 'PUT', cookies: ['a=1', 'b=2'], authorization: 'PBSAPIToken x', csrfToken: 't',
  });
  assert.equal(ticketFromCookies(['PBSAuthCookie=a', '__Host-PBSAuthCookie=b']), 'b');
  assert.equal(ticketFromCookies(['PBSAuthCookie=a; noise', ' PBSAuthCookie = c ']), 'c', 'a pair without = makes its header unusable');
  assert.equal(ticketFromCookies(['PBSAuthCookie=a+b%2Bc=']), 'a+b+c=');
  assert.equal(ticketFromCookies(['PBSAuthCookie=%zz']), null);
  assert.equal(ticketFromCookies(['other=a']), null);
  assert.deepEqual(tokenFromAuthorization('PBSAPIToken=a@pbs!t:s%25%2B+:x'), { tokenId: 'a@pbs!t', secret: 's%++:x' });
  assert.equal(tokenFromAuthorization('PBSAPIToken  a@pbs!t:s')?.tokenId, ' a@pbs!t');
  assert.equal(tokenFromAuthorization(`PBSAPIToken=a@pbs!t:${'x'.repeat(20_000)}`), null);
});

test('no headers let anybody in or break anything', async (t) => {
  const { authenticator } = await accessUnderTest(t, { golden: 'source', nowMs: recordedMs });
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('PBSAPIToken=', 'PBSAPIToken sync@pbs!offsite:', 'PBSAuthCookie=PBS:admin@pbs:6B04EF33::', 'PBSAuthCookie=', '=', ';', '%', cookie.slice(0, -3)));
  const header = fc.array(value, { maxLength: 4 }).map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(fc.array(header, { maxLength: 2 }), fc.option(header, { nil: undefined }), async (cookies, given) => {
      await assert.rejects(authenticator.authenticate(credentials({ cookies, authorization: given?.includes(authorization) === true ? undefined : given })), AuthenticationError);
    }),
    { numRuns: 300 },
  );
});
