import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Type } from 'typebox';
import { configFixtures } from '../../test/support/installation.ts';
import { ConfigError } from '../base/errors.ts';
import { datastoreType } from './datastore-config.ts';
import { realmTypes } from './domain-config.ts';
import { pruneJobType, syncJobType, verifyJobType } from './job-config.ts';
import { remoteType } from './remote-config.ts';
import { SectionConfig, sectionType, type SectionType } from './section-config.ts';
import { tokenType, userType } from './user-config.ts';

const files: Array<[name: string, types: readonly SectionType[]]> = [
  ['user.cfg', [userType, tokenType]],
  ['datastore.cfg', [datastoreType]],
  ['domains.cfg', realmTypes],
  ['remote.cfg', [remoteType]],
  ['sync.cfg', [syncJobType]],
  ['prune.cfg', [pruneJobType]],
];

function goldenTexts(): Array<[text: string, types: readonly SectionType[], name: string]> {
  return ['source', 'target'].flatMap((server) =>
    files
      .filter(([name]) => server === 'target' || name !== 'prune.cfg')
      .map(([name, types]): [string, readonly SectionType[], string] => [readFileSync(join(configFixtures, server, name), 'utf8'), types, `${server}/${name}`]),
  );
}

function idOf(record: object, type: SectionType): string {
  return (record as Record<string, string>)[type.idProperty]!;
}

const prune = (text: string): SectionConfig => SectionConfig.parse(text, [pruneJobType], '/x/prune.cfg');

test('golden files are written as they were read, also when every section is rendered anew', () => {
  for (const [text, types, name] of goldenTexts()) {
    const config = SectionConfig.parse(text, types, name);
    assert.equal(config.serialize(), text, name);
    let records = 0;
    for (const type of types) {
      for (const record of config.list(type)) {
        config.set(type, record);
        records += 1;
      }
    }
    assert.equal(records, config.ids().length, name);
    assert.equal(config.serialize(), text, `${name} rendered`);
  }
});

test('records are typed: lists repeat, booleans and numbers are such', () => {
  const config = SectionConfig.parse(readFileSync(join(configFixtures, 'target', 'sync.cfg'), 'utf8'), [syncJobType], 'sync.cfg');
  assert.deepEqual(config.get(syncJobType, 'offsite-nightly'), {
    id: 'offsite-nightly', comment: 'Nightly pull from HQ', 'group-filter': ['type:vm', 'type:ct'], 'rate-in': '50 MiB', remote: 'pbs-hq',
    'remote-store': 'main', 'remove-vanished': false, schedule: 'mon..fri 02:30', store: 'offsite',
  });
  assert.equal(config.get(syncJobType, 'all')['max-depth'], 7);
  assert.throws(() => config.get(syncJobType, 'nope'), { code: 'config.missing', message: "no such sync 'nope'" });
});

// Recorded from the reference by breaking its prune.cfg.
const malformed: Array<[text: string, message: string]> = [
  ['prune: abc\n\tschedule daily\n\tstore xxx\n\tkeep-last 0\n', "line 4 - property 'keep-last': value must have a minimum value of 1 (got 0)"],
  ['prune: abc\n\tschedule daily\n', "line 2 - property 'store' is missing and it is not optional."],
  ['prune: abc\n\tschedule daily\n\tstore xxx\n\tstore yyy\n', "line 4 - duplicate property 'store'"],
  ['prune: abc\n\tschedule daily\n\tstore xxx\nprune: b\n', 'line 4 - syntax error (expected section properties)'],
  ['prune: abc\n\tschedule daily\n\tstore xxx\n\tdisable\n', 'line 4 - syntax error (expected section properties)'],
  ['prune: a\n\tschedule daily\n\tstore xxx\n', 'line 1 - syntax error in section identifier: value must be at least 3 characters long'],
  ['prune abc\n\tschedule daily\n\tstore xxx\n', 'line 1 - syntax error (expected header)'],
  ['\tschedule daily\n\tstore xxx\n', 'line 1 - syntax error (expected header)'],
  ['prune: abc\n\tschedule daily\n\tstore xxx\n\tdisable maybe\n', "line 4 - property 'disable': Unable to parse boolean option."],
  ['prune: abc\n\tschedule daily\n\tstore xxx\n\tkeep-last 5x\n', "line 4 - property 'keep-last': invalid digit found in string"],
  ['other: abc\n\ta b\nprune: abc\n', 'line 3 - syntax error (expected section properties)'],
];

test("a malformed file is refused in the reference's words, with file and line", () => {
  for (const [text, message] of malformed) {
    assert.throws(() => prune(text), (e) => e instanceof ConfigError && e.code === 'config.syntax' && e.message === `parsing "/x/prune.cfg" failed: ${message}`, message);
  }
});

const remarked = [
  '# about this file', '', 'prune: one1', '\tschedule daily', '\tstore xxx', '\t# why', '\tkeep-last 3', '\tfuture-option  a b ', '', '# about the next', 'prune: two2', '   store xxx',
  ' schedule hourly', '', 'mystery: x y', '\tkey value', '\tkey other', '', '# last words',
];

test('comments, sections of other types and properties that are not known stay where they are', () => {
  const text = `${remarked.join('\n')}\n`;
  assert.equal(prune(text).serialize(), text);

  const config = prune(text);
  config.set(pruneJobType, { ...config.get(pruneJobType, 'one1'), 'keep-daily': 7 });
  config.set(pruneJobType, { id: 'new3', store: 'yyy', schedule: 'weekly' });
  assert.equal(
    config.serialize(),
    '# about this file\n\nprune: one1\n\t# why\n\tfuture-option a b\n\tkeep-daily 7\n\tkeep-last 3\n\tschedule daily\n\tstore xxx\n\n' +
      '# about the next\nprune: two2\n   store xxx\n schedule hourly\n\nmystery: x y\n\tkey value\n\tkey other\n\n# last words\nprune: new3\n\tschedule weekly\n\tstore yyy\n',
  );
  assert.deepEqual(config.ids().map(({ id }) => id), ['one1', 'two2', 'x y', 'new3']);
});

test('of two sections with one id the later counts, and a change leaves one', () => {
  const text = 'prune: abc\n\tschedule daily\n\tstore xxx\n\n\n\n\nprune: abc\n\tschedule hourly\n\tstore xxx\n';
  const config = prune(text);
  assert.deepEqual(config.list(pruneJobType), [{ id: 'abc', schedule: 'hourly', store: 'xxx' }]);
  config.set(pruneJobType, { id: 'abc', schedule: 'weekly', store: 'xxx' });
  assert.equal(config.serialize(), 'prune: abc\n\tschedule weekly\n\tstore xxx\n');
  const other = prune(text);
  assert.equal(other.remove(pruneJobType, 'abc'), true);
  assert.equal(other.serialize(), '');
  assert.equal(other.remove(pruneJobType, 'abc'), false);
});

test('a section of another type with the same id hides nothing and is not removed', () => {
  const config = prune('prune: abc\n\tschedule daily\n\tstore xxx\n\nother: abc\n\tkey value\n');
  assert.equal(config.list(pruneJobType).length, 1);
  assert.equal(config.find(pruneJobType, 'abc')?.store, 'xxx');
  assert.equal(config.remove(pruneJobType, 'abc'), true);
  assert.equal(config.serialize(), 'other: abc\n\tkey value\n');
  assert.equal(config.has('abc'), true);
});

test('an empty value is one, a value with a control character is refused', () => {
  const config = prune('');
  config.set(pruneJobType, { id: 'new1', store: 'yyy', schedule: 'daily', comment: '' });
  assert.equal(config.serialize(), 'prune: new1\n\tcomment \n\tschedule daily\n\tstore yyy\n');
  assert.equal(prune(config.serialize()).get(pruneJobType, 'new1').comment, '');
  assert.throws(() => config.set(pruneJobType, { id: 'new1', store: 'yyy', schedule: 'daily', comment: 'a\n\nprune: evil' }), { code: 'config.value' });
  const loose = sectionType('loose', 'id', Type.Object({ id: Type.String(), text: Type.String() }));
  const untyped = new SectionConfig([loose]);
  assert.throws(() => untyped.set(loose, { id: 'a', text: 'b\nc' }), { code: 'config.value', message: /control characters/ });
  assert.throws(() => untyped.set(loose, { id: 'a\n', text: 'b' }), { code: 'config.value', message: /control characters/ });
});

test('what is handed out is a copy', () => {
  const config = SectionConfig.parse('sync: abc\n\tgroup-filter type:vm\n\tremote-store xxx\n\tstore yyy\n', [syncJobType], 'x');
  config.get(syncJobType, 'abc')['group-filter']!.push('type:ct');
  const copy = config.clone();
  copy.remove(syncJobType, 'abc');
  assert.deepEqual(config.get(syncJobType, 'abc')['group-filter'], ['type:vm']);
  assert.equal(copy.has('abc'), false);
});

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((s) => s.replaceAll(/\p{Cc}/gu, '').trim());
const name = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{2,20}$/);

test('every set of records survives writing and reading', () => {
  const job = fc.record(
    {
      id: name, store: name, 'remote-store': name, comment: text, 'remove-vanished': fc.boolean(), 'transfer-last': fc.integer({ min: 1, max: 1_000_000 }),
      'group-filter': fc.array(fc.constantFrom('type:vm', 'exclude:type:ct', 'regex:a:b c', 'group:host/x'), { minLength: 1 }),
    },
    { requiredKeys: ['id', 'store', 'remote-store'] },
  );
  fc.assert(
    fc.property(fc.uniqueArray(job, { selector: (one) => one.id, maxLength: 8 }), (jobs) => {
      const config = new SectionConfig([syncJobType]);
      for (const one of jobs) config.set(syncJobType, { ...one });
      const again = SectionConfig.parse(config.serialize(), [syncJobType], 'x');
      assert.deepEqual(again.list(syncJobType), jobs.map((one) => ({ ...one })));
      assert.equal(again.serialize(), config.serialize());
    }),
  );
});

test('no text makes the codec fail in another way than ConfigError, and what is read is written so that it reads the same', () => {
  const types = [...files.flatMap(([, all]) => all), verifyJobType];
  const golden = goldenTexts().map(([one]) => one);
  const piece = fc.oneof(
    fc.constantFrom(...golden, ...remarked.map((line) => `${line}\n`), '\n', '\t', ': ', ' ', '#', '__proto__: x\n\ty z\n', '\tconstructor x\n', '\u0085', '\ufeff', '\r\n'),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      let config: SectionConfig;
      try {
        config = SectionConfig.parse(pieces.join(''), types, 'x');
      } catch (e) {
        assert.ok(e instanceof ConfigError, String(e));
        return;
      }
      const written = config.serialize();
      const again = SectionConfig.parse(written, types, 'x');
      assert.deepEqual(again.ids(), config.ids());
      assert.equal(again.serialize(), written);
      for (const type of types) {
        const records = config.list(type);
        assert.deepEqual(again.list(type), records);
        for (const record of records) assert.ok(again.has(idOf(record, type)));
      }
    }),
    { numRuns: 500 },
  );
});
