import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderCertificateTime, renderTime } from './renderers.ts';

test('times', () => {
  assert.equal(renderTime(1_800_000_000, 'UTC'), 'Fri Jan 15 08:00:00 2027');
  assert.equal(renderTime(1_793_750_400, 'Europe/Berlin'), 'Wed Nov  4 01:00:00 2026');
  assert.equal(renderTime(0, 'UTC'), 'Thu Jan  1 00:00:00 1970');
  assert.equal(renderCertificateTime(new Date(Date.UTC(2026, 10, 4, 7, 4, 9))), 'Nov  4 07:04:09 2026 GMT');
});
