import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { parseRepository, repositoryText, resolveRepository, type RepositoryParts } from './repository.ts';

test('every form, and how it is printed', () => {
  const cases: Array<[text: string, authId: string | null, host: string | null, port: number | null, printed?: string]> = [
    ['store', null, null, null],
    ['pbs.example.com:store', null, 'pbs.example.com', null],
    ['10.0.0.1:8008:store', null, '10.0.0.1', 8008],
    ['1234:store', null, '1234', null],
    ['[::1]:store', null, '[::1]', null],
    ['[fe80::1]:8007:store', null, '[fe80::1]', 8007],
    ['a@pbs@host:store', 'a@pbs', 'host', null, 'a@pbs@host:8007:store'],
    ['a@pbs!tok@host:9000:store', 'a@pbs!tok', 'host', 9000],
    ['a@b@pbs@host:store', 'a@b@pbs', 'host', null, 'a@b@pbs@host:8007:store'],
  ];
  for (const [text, authId, host, port, printed = text] of cases) {
    const repository = parseRepository(text);
    assert.deepEqual(repository, { authId, host, port, datastore: 'store' }, text);
    assert.equal(repositoryText(repository), printed);
  }
});

test('what is no repository', () => {
  for (const text of ['', 'a b', 'foo:bar:baz', ':store', 'host:', 'host:0:store', 'host:65536:store', 'host:123456:store', '[::g]:store', '::1:store', '-store', 'a@pbs@store', 'x'.repeat(257)]) {
    assert.throws(() => parseRepository(text), { code: 'config.repository', message: `unable to parse repository url '${text.slice(0, 256)}'` }, text);
  }
});

test('the printed form means the same', () => {
  const word = fc.stringMatching(/^[a-z0-9_][a-z0-9._-]{0,10}$/);
  const repository = fc.record({
    authId: fc.option(fc.tuple(fc.stringMatching(/^[^\s:/\p{C}]{1,8}$/u), word, fc.option(word)).map(([user, realm, token]) => `${user}@${realm}${token === null ? '' : `!${token}`}`)),
    host: fc.option(fc.oneof(fc.ipV4(), fc.domain(), fc.ipV6().map((address) => `[${address}]`))),
    port: fc.option(fc.integer({ min: 1, max: 65_535 })),
    datastore: word,
  });
  fc.assert(
    fc.property(repository, (one) => {
      const text = repositoryText(one);
      fc.pre(text.length <= 256);
      assert.equal(repositoryText(parseRepository(text)), text);
    }),
  );
});

suite('which one counts (spec client-cli 2.2)', () => {
  const none: RepositoryParts = { server: undefined, port: undefined, datastore: undefined, authId: undefined };
  const resolve = async (repository: string | undefined, options: Partial<RepositoryParts>, byDefault: string | null, variables: Partial<RepositoryParts> = {}): Promise<string | null> => {
    const found = await resolveRepository({ repository, options: { ...none, ...options }, defaultRepository: () => Promise.resolve(byDefault), variables: { ...none, ...variables } });
    return found === null ? null : repositoryText(found);
  };

  test('option, parts, default, variables, in this order', async () => {
    const variables = { server: 'env', port: 1, datastore: 'envstore', authId: 'env@pbs' };
    assert.equal(await resolve('opt:store', {}, 'default', variables), 'opt:store');
    assert.equal(await resolve(undefined, { server: 'host' }, 'default', variables), 'env@pbs@host:1:envstore');
    assert.equal(await resolve(undefined, { server: '::1', datastore: 'store' }, null), '[::1]:store');
    assert.equal(await resolve(undefined, {}, 'default', variables), 'default');
    assert.equal(await resolve(undefined, {}, null, variables), 'env@pbs@env:1:envstore');
    assert.equal(await resolve(undefined, {}, null), null);
  });

  test('what does not go together', async () => {
    await assert.rejects(resolve('store', { port: 1 }, null), { message: '--repository and --server/--port/--datastore/--auth-id are mutually exclusive' });
    await assert.rejects(resolve(undefined, { server: 'host' }, 'default'), { message: '--datastore is required when not using --repository' });
    await assert.rejects(resolve(undefined, {}, null, { authId: 'a@pbs' }), { message: '--datastore is required when not using --repository' });
    await assert.rejects(resolve(undefined, {}, null, { datastore: 'a/b' }), { code: 'config.repository' });
  });
});
