import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CryptConfig, formatFingerprint } from '../crypto/crypt-config.ts';
import { manifestHmac, signManifest, type CryptMode, type Manifest } from '../format/manifest.ts';
import { planDecryption, planEncryption, type RecodingPlan } from './recoding-plan.ts';

const key = new CryptConfig(Buffer.alloc(32, 1));
const other = new CryptConfig(Buffer.alloc(32, 2));

function manifest(...modes: CryptMode[]): Manifest {
  const files = modes.map((cryptMode, i) => ({ filename: `f${i}.blob`, cryptMode, size: 100, csum: String(i).repeat(64) }));
  return { backupType: 'host', backupId: 'a', backupTime: 1_760_000_000, files, signature: null, unprotected: { notes: 'n' } };
}

const plain = manifest('none', 'none');
const encrypted = signManifest(manifest('encrypt', 'encrypt'), key);
const partly = signManifest(manifest('encrypt', 'none'), key);

function decryptedFrom(source: Manifest): Manifest {
  const plan = planDecryption(source, null, [key]);
  assert.ok(plan.kind === 'recode');
  return plan.manifest(plain.files);
}

const kind = (plan: RecodingPlan): string => (plan.kind === 'plain' && plan.note !== undefined ? `plain, ${plan.warning === true ? 'warning' : 'said'}` : plan.kind);

test('a new snapshot is decrypted only when it is encrypted as a whole and its key is there', () => {
  assert.equal(kind(planDecryption(plain, null, [key])), 'plain');
  assert.equal(kind(planDecryption(encrypted, null, [])), 'plain');
  assert.equal(kind(planDecryption(encrypted, null, [other])), 'plain, said');
  assert.equal(kind(planDecryption(partly, null, [key])), 'plain, warning');
  assert.equal(kind(planDecryption(encrypted, null, [other, key])), 'recode');
});

test('the decrypted manifest says where it came from, and nothing that no longer holds', () => {
  const source = { ...encrypted, unprotected: { ...encrypted.unprotected, verify_state: { state: 'ok', upid: 'x' }, 'change-detection-fingerprint': 'old', 'sync-source-signature': 'old' } };
  assert.deepEqual(decryptedFrom(source), { ...plain, unprotected: { notes: 'n', 'sync-source-signature': formatFingerprint(Buffer.from(encrypted.signature!, 'hex')) } });
});

test('a manifest that is not signed by the key is refused', () => {
  assert.throws(() => planDecryption({ ...encrypted, backupTime: 1 }, null, [key]), { code: 'format.signature' });
  assert.throws(() => planDecryption({ ...encrypted, signature: null }, null, [key]), { code: 'format.signature' });
});

test('a decrypted copy is known again, from a pull and from the push that encrypted it', () => {
  const copy = decryptedFrom(encrypted);
  assert.equal(kind(planDecryption(encrypted, copy, [key])), 'unchanged');
  const { 'sync-source-signature': signature, ...rest } = copy.unprotected;
  assert.equal(kind(planDecryption(encrypted, { ...copy, unprotected: { ...rest, 'change-detection-fingerprint': signature } }, [key])), 'unchanged');
  const pushed = planEncryption(plain, null, key);
  assert.ok(pushed.kind === 'recode');
  assert.equal(kind(planDecryption(pushed.manifest(encrypted.files), plain, [key])), 'unchanged');
});

test('no copy is replaced by something else', () => {
  const refused = (source: Manifest, current: Manifest, keys: CryptConfig[]): void => assert.throws(() => planDecryption(source, current, keys), { code: 'sync.key' });
  refused(plain, encrypted, [key]);
  refused(plain, { ...decryptedFrom(encrypted), backupTime: 7 }, [key]);
  refused(encrypted, decryptedFrom(encrypted), []);
  refused(encrypted, decryptedFrom(encrypted), [other]);
  refused(encrypted, plain, [key]);
  refused(encrypted, signManifest(manifest('encrypt', 'encrypt'), other), [key, other]);
  assert.equal(kind(planDecryption(encrypted, { ...encrypted, unprotected: { ...encrypted.unprotected, notes: 'other' } }, [key])), 'plain');
});

test('a push encrypts what is plain, signed or not, and nothing else', () => {
  for (const source of [plain, signManifest(manifest('sign-only', 'none'), other)]) {
    const plan = planEncryption(source, null, key);
    assert.ok(plan.kind === 'recode');
    const made = plan.manifest(encrypted.files);
    assert.equal(made.signature, encrypted.signature);
    assert.equal(made.unprotected['key-fingerprint'], formatFingerprint(key.fingerprint));
    assert.equal(made.unprotected['sync-source-signature'], formatFingerprint(manifestHmac(source, key)));
  }
  assert.equal(kind(planEncryption(encrypted, null, other)), 'plain, said');
  assert.equal(kind(planEncryption(partly, null, key)), 'skip');
});

test('what a push encrypted is known again, with a former key, too; anything else is not', () => {
  const pushed = (crypt: CryptConfig, source = plain): Manifest => {
    const plan = planEncryption(source, null, crypt);
    assert.ok(plan.kind === 'recode');
    return plan.manifest(encrypted.files);
  };
  assert.equal(kind(planEncryption(plain, pushed(key), key)), 'unchanged');
  assert.equal(kind(planEncryption({ ...plain, unprotected: { notes: 'other' } }, pushed(key), key)), 'unchanged');
  assert.equal(kind(planEncryption(plain, pushed(key), other, [key])), 'unchanged');
  assert.equal(kind(planEncryption(plain, pushed(key), other)), 'skip');
  assert.equal(kind(planEncryption(plain, pushed(key, { ...plain, files: encrypted.files.map((file) => ({ ...file, cryptMode: 'none' as const, csum: 'f'.repeat(64) })) }), key)), 'recode');
  assert.throws(() => planEncryption(plain, { ...pushed(key), backupTime: 1 }, key), { code: 'format.signature' });
});
