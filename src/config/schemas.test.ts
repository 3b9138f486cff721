import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TObject, TSchema } from 'typebox';
import { configFixtures } from '../../test/support/installation.ts';
import { backendOf, datastoreSchema, maintenanceOf, tuningOf } from './datastore-config.ts';
import { pruneJobSchema, syncJobSchema, verifyJobSchema } from './job-config.ts';
import { remoteSchema } from './remote-config.ts';
import { isRequired, itemsOf, readPropertyString, readScalar, recordProblem, scalarProblem, writePropertyString } from './schema-check.ts';
import { aclPath, comment, deletable, fingerprint, groupFilter, hostName, namespace, propertyStringTypeText, userId } from './schemas.ts';
import { trafficRuleSchema } from './traffic-config.ts';
import { userSchema } from './user-config.ts';

interface RecordedSchema {
  type: string;
  optional?: 1;
  format?: { properties: Record<string, RecordedSchema>; default_key?: string };
  items?: RecordedSchema;
  [keyword: string]: unknown;
}

const recorded = readFileSync(join(configFixtures, 'schemas.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as { path: string; properties: Record<string, RecordedSchema> });

const ours: Record<string, TObject> = {
  '/config/sync': syncJobSchema,
  '/config/prune': pruneJobSchema,
  '/config/verify': verifyJobSchema,
  '/config/remote': remoteSchema,
  '/config/datastore': datastoreSchema,
  '/access/users': userSchema,
};

/** Parameters of the call that are not stored, and the password, which is stored in another form than given. */
const notStored = new Set(['/config/datastore overwrite-in-use', '/config/datastore reuse-datastore', '/access/users password', '/config/remote password']);

/** The reference parses it as u16 and does not show that in its schema. */
const isNarrower = new Set(['/config/remote port']);

function sameLimits(where: string, theirs: RecordedSchema, schema: TSchema, isOptional: boolean): void {
  const mine = schema as unknown as Record<string, unknown>;
  assert.equal(isOptional, theirs.optional === 1, `${where} optional`);
  // Where the reference has no upper limit to a text, ours is a bound against abuse.
  const keywords = ['minimum', 'maximum', 'minLength', 'default', ...(theirs['maxLength'] === undefined ? [] : ['maxLength'])];
  if (!isNarrower.has(where)) for (const keyword of keywords) assert.deepEqual(mine[keyword], theirs[keyword], `${where} ${keyword}`);
  assert.deepEqual([...((mine['enum'] as string[] | undefined) ?? [])].sort(), [...((theirs['enum'] as string[] | undefined) ?? [])].sort(), `${where} enum`);
  const items = itemsOf(schema);
  if (items !== null) sameLimits(`${where} items`, { ...theirs.items!, optional: 1 }, items, true);
  if (theirs.format === undefined) return;
  const object = mine['propertyString'] as TObject;
  assert.equal(mine['defaultKey'], theirs.format.default_key);
  sameProperties(where, theirs.format.properties, object);
}

function sameProperties(where: string, theirs: Record<string, RecordedSchema>, object: TObject): void {
  const names = Object.keys(theirs).filter((name) => !notStored.has(`${where} ${name}`));
  for (const name of names) {
    assert.ok(Object.hasOwn(object.properties, name), `${where} ${name}`);
    sameLimits(`${where} ${name}`, theirs[name]!, object.properties[name]!, !isRequired(object, name));
  }
  const extra = Object.keys(object.properties).filter((name) => !names.includes(name));
  assert.deepEqual(extra, where === '/config/remote' ? ['password'] : [], where);
}

test("names, limits, defaults and enumerations are the reference's", () => {
  assert.equal(recorded.length, 6);
  for (const { path, properties } of recorded) sameProperties(path, properties, ours[path]!);
});

test("usage texts of property strings are the reference's", () => {
  const text = (name: string): unknown => (datastoreSchema.properties[name as keyof typeof datastoreSchema.properties] as unknown as Record<string, unknown>)['typetext'];
  assert.equal(text('maintenance-mode'), '[type=<enum> [,message=<string>]]');
  assert.equal(text('notify'), '[[gc=<enum>] [,prune=<enum>] [,sync=<enum>] [,verify=<enum>]]');
  assert.equal(
    text('tuning'),
    '[[chunk-order=<enum>] [,default-verification-readers=<integer>] [,default-verification-workers=<integer>] [,gc-atime-cutoff=<integer>] [,gc-atime-safety-check=<1|0>] [,gc-cache-capacity=<integer>] [,sync-level=<enum>]]',
  );
  assert.equal(text('backend'), '<backend-config>');
  assert.equal(propertyStringTypeText(syncJobSchema).startsWith('[id=<string> ,remote-store=<string> ,store=<string> [,active'), true);
});

const pattern = 'value does not match the regex pattern';
const verdicts: Array<[schema: TSchema, text: string, problem: string | null]> = [
  [namespace, '', null],
  [namespace, 'a/b/c/d/e/f/g', null],
  [namespace, 'a/b/c/d/e/f/g/h', 'namespace too deep, 8 >= max 7'],
  [namespace, 'a//b', pattern],
  [namespace, '../a', pattern],
  [userId, 'a@b@pbs', null],
  [userId, 'a:b@pbs', pattern],
  [userId, 'a@pbs!t', pattern],
  [userId, 'a', 'value must be at least 3 characters long'],
  [comment, 'ä'.repeat(128), null],
  [comment, '😀'.repeat(128), null],
  [comment, 'x'.repeat(129), 'value may only be 128 characters long'],
  [comment, 'a\tb', pattern],
  [comment, 'a\u0085b', null],
  [fingerprint, Array.from({ length: 32 }, () => 'aB').join(':'), null],
  [fingerprint, 'ab'.repeat(32), pattern],
  [groupFilter, 'type:vm', null],
  [groupFilter, 'exclude:group:vm/100', null],
  [groupFilter, 'include:regex:^vm/1:[0-9]', null],
  [groupFilter, 'except:type:vm', pattern],
  [groupFilter, 'group:vm/..', pattern],
  [hostName, 'pbs.example.com', null],
  [hostName, '10.0.0.1', null],
  [hostName, 'fe80::1', null],
  [hostName, 'fe80:::1', pattern],
  [hostName, '-x', pattern],
  [hostName, 'a/b', pattern],
  [itemsOf(trafficRuleSchema.properties.network)!, '10.0.0.0/8', null],
  [itemsOf(trafficRuleSchema.properties.network)!, 'fe80::/64', null],
  [itemsOf(trafficRuleSchema.properties.network)!, '10.0.0.0/33', pattern],
  [itemsOf(trafficRuleSchema.properties.network)!, '10.0.0/8', pattern],
  [aclPath, '/', null],
  [aclPath, '/datastore/x', null],
  [aclPath, 'datastore', pattern],
  [aclPath, '/a/', pattern],
];

test('texts are judged as the reference judges them', () => {
  for (const [schema, text, problem] of verdicts) assert.equal(scalarProblem(schema, text), problem, text);
  assert.equal(scalarProblem(itemsOf(deletable(['comment', 'ns']))!, 'comment,ns'), "value 'comment,ns' is not defined in the enumeration.");
});

test('booleans and numbers have the text forms of forms and files', () => {
  const flagSchema = syncJobSchema.properties['remove-vanished'];
  for (const word of ['1', 'ON', 'yes', 'True']) assert.deepEqual(readScalar(flagSchema, word), { value: true });
  for (const word of ['0', 'off', 'No', 'FALSE']) assert.deepEqual(readScalar(flagSchema, word), { value: false });
  assert.deepEqual(readScalar(flagSchema, ''), { problem: 'Unable to parse boolean option.' });
  const depth = syncJobSchema.properties['max-depth'];
  assert.deepEqual(readScalar(depth, '7'), { value: 7 });
  assert.deepEqual(readScalar(depth, '8'), { problem: 'value must have a maximum value of 7 (got 8)' });
  for (const text of ['1.0', '0x1', '', ' 1', '99999999999999999999']) assert.deepEqual(readScalar(depth, text), { problem: 'invalid digit found in string' });
});

test('property strings are read, checked and normalised', () => {
  const mode = datastoreSchema.properties['maintenance-mode'];
  assert.deepEqual(readPropertyString(mode, 'message=disk swap,type=offline'), { value: { type: 'offline', message: 'disk swap' } });
  assert.equal(writePropertyString(mode, { message: 'disk swap', type: 'offline' }), 'offline,message=disk swap');
  assert.deepEqual(readPropertyString(mode, 'message=x'), { problem: "'type': parameter is missing and it is not optional." });
  assert.deepEqual(readPropertyString(mode, 'offline,type=offline'), { problem: "'type': duplicate key" });
  assert.deepEqual(scalarProblem(mode, 'offline,message="a,b"'), "'message': value does not match the regex pattern");
  assert.deepEqual(maintenanceOf({ name: 'main', path: '/x', 'maintenance-mode': 'read-only' }), { type: 'read-only' });
  assert.equal(maintenanceOf({ name: 'main', path: '/x' }), null);
  assert.deepEqual(tuningOf({ name: 'main', path: '/x', tuning: 'sync-level=file' }), { 'sync-level': 'file' });
  assert.deepEqual(backendOf({ name: 'main', path: '/x', backend: 's3,client=c11,bucket=b11' }), { type: 's3', client: 'c11', bucket: 'b11' });
  const { tuning } = datastoreSchema.properties;
  assert.deepEqual(readPropertyString(tuning, 'gc-atime-cutoff=5,gc-atime-safety-check=0'), { value: { 'gc-atime-cutoff': 5, 'gc-atime-safety-check': false } });
  const store = { name: 'main', path: '/x' };
  assert.equal(recordProblem(datastoreSchema, { ...store, tuning: 'sync-level=file' }), null);
  assert.deepEqual(recordProblem(datastoreSchema, { ...store, tuning: 'gc-atime-cutoff=0' }), {
    name: 'tuning',
    problem: "'gc-atime-cutoff': value must have a minimum value of 1 (got 0)",
  });
  assert.deepEqual(recordProblem(datastoreSchema, { ...store, tuning: 'toString=1' }), { name: 'tuning', problem: "'toString': schema does not allow additional properties." });
});
