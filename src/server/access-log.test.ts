import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccessEntry } from '../api/router.ts';
import { formatAccessLine } from './access-log.ts';

const entry: AccessEntry = { remoteAddress: '10.0.0.5', authId: 'admin@pbs', method: 'GET', target: '/api2/json/version', status: 200, size: 95, userAgent: 'curl/8.5' };
// Made of local parts, so that the text is the same in every zone but for the offset.
const time = new Date(2026, 10, 24, 1, 58, 20);

const line = (more: Partial<AccessEntry>): string => formatAccessLine({ ...entry, ...more }, time);

test('a line as the reference writes it', () => {
  assert.match(line({}), /^10\.0\.0\.5 - admin@pbs \[24\/11\/2026:01:58:20 [+-][0-9]{4}\] "GET \/api2\/json\/version" 200 95 curl\/8\.5$/);
  assert.match(line({ authId: '', userAgent: '', status: 401, size: 21 }), /^10\.0\.0\.5 - - \[.*\] "GET \/api2\/json\/version" 401 21 -$/);
});

test('the offset is that of the local zone', () => {
  const minutes = 0 - time.getTimezoneOffset();
  const [, sign, hours, rest] = / ([+-])([0-9]{2})([0-9]{2})\]/.exec(line({}))!;
  assert.equal((sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(rest)), minutes);
});

test('long, secret and hostile parts', () => {
  assert.equal(/"GET (.*)" 200/.exec(line({ target: `/${'a'.repeat(4000)}` }))![1]!.length, 3072);
  assert.ok(line({ userAgent: 'u'.repeat(500) }).endsWith(` ${'u'.repeat(128)}`));
  assert.match(line({ target: '/x?password=geheim&confirmation-password=auch&b=1' }), /\/x\?password=\*\*\*&confirmation-password=\*\*\*&b=1/);
  assert.ok(!line({ userAgent: 'a\nb', target: '/x"\ty' }).match(/[\n\t]|x"/));
});
