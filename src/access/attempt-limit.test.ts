import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessUnderTest } from '../../test/support/accounts.ts';
import { AttemptLimit, usualLimits } from './attempt-limit.ts';
import { LoginError } from './login.ts';

const limits = { addressPlaces: 3, addressRefill: 10, accountPlaces: 5, accountRefill: 2, remembered: 100 };

function ground(): { limit: AttemptLimit; clock: { ms: number; now(): number } } {
  const clock = { ms: 1_000_000, now: () => clock.ms };
  return { limit: new AttemptLimit(clock, limits), clock };
}

test('an address has so many wrong attempts, for whatever account, and gets one back at a time', () => {
  const { limit, clock } = ground();
  for (const account of ['a', 'b', 'c']) assert.ok(limit.begin('10.0.0.1', account));
  assert.equal(limit.begin('10.0.0.1', 'd'), null);
  assert.equal(limit.begin('::ffff:10.0.0.1', 'd'), null, 'the same address in another form');
  assert.ok(limit.begin('10.0.0.2', 'd'));
  clock.ms += 9_999;
  assert.equal(limit.begin('10.0.0.1', 'd'), null);
  clock.ms += 1;
  assert.ok(limit.begin('10.0.0.1', 'd'));
  assert.equal(limit.begin('10.0.0.1', 'd'), null);
  clock.ms -= 3_600_000;
  assert.equal(limit.begin('10.0.0.1', 'd'), null, 'a clock set back gives nothing');
});

test('an account has so many wrong attempts from anywhere', () => {
  const { limit, clock } = ground();
  for (let i = 0; i < 5; i += 1) assert.ok(limit.begin(`10.0.0.${i}`, 'admin@pbs'));
  assert.equal(limit.begin('10.0.1.1', 'admin@pbs'), null);
  assert.equal(limit.begin(undefined, 'admin@pbs'), null);
  assert.ok(limit.begin('10.0.1.1', 'other@pbs'));
  clock.ms += 2_000;
  assert.ok(limit.begin('10.0.1.1', 'admin@pbs'));
});

test('right attempts cost nothing; those under way count', () => {
  const { limit } = ground();
  for (let i = 0; i < 50; i += 1) limit.begin('10.0.0.1', 'a')!.succeeded();
  const underWay = [1, 2, 3].map(() => limit.begin('10.0.0.1', 'a')!);
  assert.equal(limit.begin('10.0.0.1', 'a'), null);
  underWay[0]!.succeeded();
  assert.ok(limit.begin('10.0.0.1', 'a'));
});

test('an IPv6 host cannot walk through its network', () => {
  const { limit } = ground();
  for (const address of ['2001:db8::1', '2001:0db8:0:0:ffff::2', '2001:db8::a:b:c:d']) assert.ok(limit.begin(address, address));
  assert.equal(limit.begin('2001:db8:0:0:1:2:3:4', 'd'), null);
  assert.ok(limit.begin('2001:db8:0:1::1', 'd'));
});

test('no more is remembered than the limit says', () => {
  const { limit } = ground();
  for (let i = 0; i < 3; i += 1) limit.begin('10.0.0.1', 'a');
  for (let i = 0; i < limits.remembered; i += 1) limit.begin(undefined, `user-${i}`);
  assert.ok(limit.begin('10.0.0.1', 'b'), 'what was not used for longest is forgotten first');
});

test('beyond the limit a right password is refused like a wrong one, until time has passed; a ticket is not', async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs: 1_795_485_533_000 });
  await access.changer.createUser({ userid: 'eve@pbs' }, { password: 'eve-password-1' });
  const login = (password: string, address = '10.0.0.9'): Promise<unknown> => access.login.login({ username: 'eve@pbs', password, address });
  const { ticket } = (await login('eve-password-1')) as { ticket: string };
  const reason = (password: string): Promise<string> => login(password).then(() => 'in', (e: unknown) => (e instanceof LoginError ? e.reason : assert.fail(String(e))));
  for (let i = 0; i < usualLimits.addressPlaces; i += 1) assert.equal(await reason('wrong-password'), 'invalid credentials');
  assert.equal(await reason('eve-password-1'), 'too many failed logins');
  assert.equal(await reason(ticket), 'in', 'renewals go on');
  await login('eve-password-1', '10.0.0.10');
  access.clock.ms += usualLimits.addressRefill * 1000;
  assert.equal(await reason('eve-password-1'), 'in');
});
