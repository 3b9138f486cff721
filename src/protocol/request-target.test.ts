import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { HttpError } from '../base/errors.ts';
import { parseRequestTarget, targetLength } from './request-target.ts';

test('empty components vanish, escapes are decoded for routing and kept for messages', () => {
  assert.deepEqual(parseRequestTarget('//api2//json/create%2Ddatastore/a%2Fb/?x=/.y'), {
    raw: ['api2', 'json', 'create%2Ddatastore', 'a%2Fb'],
    components: ['api2', 'json', 'create-datastore', 'a/b'],
    path: '/api2/json/create%2Ddatastore/a%2Fb',
    query: 'x=/.y',
  });
  assert.deepEqual(parseRequestTarget('/').components, []);
  assert.deepEqual(parseRequestTarget('/a?').query, '');
  assert.deepEqual(parseRequestTarget('/%ff/%zz').components, ['%ff', '%zz']);
});

test('components with a leading dot are refused, encoded ones are ordinary names', () => {
  for (const target of ['/api2/json/./x', '/..', '/a/.hidden?x']) assert.throws(() => parseRequestTarget(target), (e) => e instanceof HttpError && e.status === 400 && e.message === 'path contains illegal components');
  assert.deepEqual(parseRequestTarget('/%2e%2e/x').components, ['..', 'x']);
});

test('the length counts what was normalised', () => {
  assert.equal(targetLength(parseRequestTarget('///a//b?c')), '/a/b?c'.length);
});

test('any text is a target or a refusal', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const target = parseRequestTarget(text);
        assert.equal(target.raw.length, target.components.length);
        assert.ok(target.raw.every((component) => component !== '' && !component.includes('/') && !component.startsWith('.')));
      } catch (e) {
        assert.ok(e instanceof HttpError);
      }
    }),
  );
});
