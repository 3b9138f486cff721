import assert from 'node:assert/strict';
import { createHash, randomBytes, scryptSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { encodeBlob } from './data-blob.ts';
import {
  canonicalManifest,
  decodeManifestBlob,
  encodeManifestBlob,
  keyFingerprintOf,
  manifestFile,
  manifestHmac,
  manifestNotes,
  parseManifest,
  sameProtectedContent,
  serializeManifest,
  signManifest,
  verifyManifestSignature,
  verifyState,
  type Manifest,
} from './manifest.ts';

const example: Manifest = {
  backupType: 'vm',
  backupId: '100',
  backupTime: 1_700_000_000,
  files: [
    { filename: 'drive-scsi0.img.fidx', cryptMode: 'none', size: 6_291_456, csum: '4c038ad982f42733f8cf5de38af46a51c822e758fd72497bc1187040bb42f5ca' },
    { filename: 'qemu-server.conf.blob', cryptMode: 'none', size: 23, csum: '3bdccd0090d8014594050a55d53cb2d69289582bae045616426c67122f6276e4' },
  ],
  signature: null,
  unprotected: { notes: 'line1\nline2', chunk_upload_stats: { size: 6_292_000, compressed_size: 300, duplicates: 0, count: 2 } },
};

const signedVector: Manifest = {
  backupType: 'host',
  backupId: 'elsa',
  backupTime: 1_593_179_765,
  files: [
    { filename: 'test1.img.fidx', cryptMode: 'encrypt', size: 200, csum: '01'.repeat(32) },
    { filename: 'abc.blob', cryptMode: 'none', size: 200, csum: '02'.repeat(32) },
  ],
  signature: null,
  unprotected: {},
};

const text = (manifest: Manifest): string => serializeManifest(manifest).toString();
const refuses = (code: string) => (e: unknown): boolean => e instanceof FormatError && e.code === `format.${code}`;

test('the worked example, byte for byte and back', () => {
  const json = serializeManifest(example);
  assert.equal(json.length, 664);
  assert.equal(createHash('sha256').update(json).digest('hex'), 'dacb7c792a32ee5604c508ca24f8b759e2e7cfc45159f3843a6b3dcad55bf037');
  assert.deepEqual(parseManifest(json), example);
  assert.deepEqual(decodeManifestBlob(encodeManifestBlob(example)), example);
});

test('the signature vectors', () => {
  const canonical = `{"backup-id":"elsa","backup-time":1593179765,"backup-type":"host","files":[{"crypt-mode":"encrypt","csum":"${'01'.repeat(32)}","filename":"test1.img.fidx","size":200},{"crypt-mode":"none","csum":"${'02'.repeat(32)}","filename":"abc.blob","size":200}]}`;
  assert.equal(canonicalManifest(signedVector).toString(), canonical);
  const derived = new CryptConfig(scryptSync('test', '', 32, { N: 65_536, r: 8, p: 1, maxmem: 2 ** 28 }));
  assert.equal(manifestHmac(signedVector, derived).toString('hex'), 'd7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679e9');
  const counted = new CryptConfig(Buffer.from(Array.from({ length: 32 }, (_, i) => i)));
  assert.equal(signManifest(signedVector, counted).signature, '9034ba9371746b0173222e4bcab78b58447348430a555bf296ed3ea94f80afef');
});

test('the signature covers the files and the name, not the unprotected part', () => {
  const crypt = new CryptConfig(randomBytes(32));
  const signed = signManifest(example, crypt);
  assert.deepEqual(keyFingerprintOf(signed), crypt.fingerprint);
  assert.equal(verifyManifestSignature(signed, crypt), 'valid');
  assert.equal(verifyManifestSignature({ ...signed, unprotected: { ...signed.unprotected, notes: 'x' } }, crypt), 'valid');
  assert.equal(verifyManifestSignature({ ...signed, unprotected: {} }, crypt), 'valid');
  assert.equal(verifyManifestSignature({ ...signed, signature: signed.signature!.toUpperCase() }, crypt), 'valid');
  assert.equal(verifyManifestSignature(example, crypt), 'unsigned');
  const [first, second] = example.files;
  for (const change of [{ backupId: '101' }, { backupTime: 1 }, { backupType: 'ct' as const }, { files: [first!] }, { files: [second!, first!] }, { files: [{ ...first!, cryptMode: 'encrypt' as const }, second!] }]) {
    assert.throws(() => verifyManifestSignature({ ...signed, ...change }, crypt), refuses('signature'));
  }
  assert.throws(() => verifyManifestSignature(signed, new CryptConfig(randomBytes(32))), refuses('wrong-key'));
  assert.throws(() => verifyManifestSignature({ ...signed, unprotected: {} }, new CryptConfig(randomBytes(32))), refuses('signature'));
  assert.throws(() => verifyManifestSignature({ ...signed, signature: null }, crypt), refuses('signature'));
});

test('missing members get their defaults, unknown ones are dropped, digests are lowercase', () => {
  const manifest = parseManifest(Buffer.from(`{"x":1,"backup-type":"ct","backup-id":"1","backup-time":5,"files":[{"filename":"a.blob","size":12,"csum":"${'AB'.repeat(32)}","y":2}]}`));
  assert.deepEqual(manifest, { backupType: 'ct', backupId: '1', backupTime: 5, files: [{ filename: 'a.blob', cryptMode: 'none', size: 12, csum: 'ab'.repeat(32) }], signature: null, unprotected: {} });
});

test('what is not a manifest is refused', () => {
  const good = text(example);
  const bad = [
    '[]',
    'null',
    '{}',
    good.replace('"vm"', '"qemu"'),
    good.replace('"100"', '"../100"'),
    good.replace('"100"', '100'),
    good.replace('1700000000', '"1700000000"'),
    good.replace('1700000000', '1700000000.5'),
    good.replace('"none"', '"secret"'),
    good.replace('"none"', 'null'),
    good.replace('drive-scsi0.img.fidx', '../../etc/x.fidx'),
    good.replace('drive-scsi0.img.fidx', 'drive-scsi0.img'),
    good.replace('drive-scsi0.img.fidx', 'qemu-server.conf.blob'),
    good.replace('6291456', '-1'),
    good.replace('6291456', '9007199254740993'),
    good.replace('4c038a', '4c038'),
    good.replace('"signature": null', '"signature": "abc"'),
    good.replace('"signature": null', '"signature": 1'),
    good.replace('"files": [', '"files": {"a": ').replace('\n  ],', '\n  },'),
    good.replace(/"unprotected": \{[^]*\}/, '"unprotected": []}'),
  ];
  for (const json of bad) assert.throws(() => parseManifest(Buffer.from(json)), FormatError, json);
  assert.throws(() => decodeManifestBlob(encodeBlob(serializeManifest(example), { compress: true, crypt: new CryptConfig(randomBytes(32)) })), FormatError);
});

test('a huge manifest is not decoded', () => {
  const bomb = encodeBlob(Buffer.alloc(17 * 1024 * 1024, ' '), { compress: true });
  assert.throws(() => decodeManifestBlob(bomb), refuses('too-large'));
});

test('unprotected values survive, whatever they are', () => {
  const property = fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 4 })), (unprotected) => {
    const manifest = { ...example, unprotected: JSON.parse(JSON.stringify(unprotected)) as Record<string, unknown> };
    const json = serializeManifest(manifest);
    assert.deepEqual(parseManifest(json), manifest);
    assert.ok(serializeManifest(parseManifest(json)).equals(json));
  });
  fc.assert(property, { numRuns: 100 });
});

test('views of the unprotected part', () => {
  assert.equal(manifestNotes(example), 'line1\nline2');
  assert.equal(manifestNotes(signedVector), '');
  assert.equal(verifyState(example), null);
  const upid = 'UPID:a:1:';
  assert.deepEqual(verifyState({ ...example, unprotected: { verify_state: { state: 'failed', upid } } }), { state: 'failed', upid });
  assert.equal(verifyState({ ...example, unprotected: { verify_state: { state: 'maybe', upid } } }), null);
  assert.equal(manifestFile(example, 'qemu-server.conf.blob')?.size, 23);
  assert.equal(manifestFile(example, 'other.blob'), undefined);
  assert.ok(sameProtectedContent(example, signManifest({ ...example, unprotected: {} }, new CryptConfig(randomBytes(32)))));
  assert.ok(!sameProtectedContent(example, { ...example, backupTime: 2 }));
});
