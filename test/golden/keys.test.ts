import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatFingerprint, CryptConfig } from '../../src/crypto/crypt-config.ts';
import { createKeyFile, loadKey, parseKeyFile, serializeKeyFile } from '../../src/crypto/key-file.ts';
import { parseRfc3339 } from '../../src/crypto/rfc3339.ts';
import { goldenPassphrase, readFixture } from '../support/golden.ts';

interface Shown {
  created: number;
  modified: number;
  fingerprint: string;
  hint?: string;
  kdf: string;
}

for (const name of ['kdf-none', 'kdf-pbkdf2', 'kdf-scrypt']) {
  test(`${name}: same bytes, loads, says what the reference says about it`, async () => {
    const bytes = readFixture(`keys/${name}.key`);
    const file = parseKeyFile(bytes);
    assert.equal(serializeKeyFile(file), bytes.toString());
    const shown = JSON.parse(readFixture(`keys/${name}.show.json`).toString()) as Shown;
    const key = await loadKey(file, () => goldenPassphrase);
    assert.equal(formatFingerprint(new CryptConfig(key).fingerprint), shown.fingerprint);
    assert.deepEqual([parseRfc3339(file.created), parseRfc3339(file.modified), file.kdf?.type ?? 'none', file.hint ?? undefined], [shown.created, shown.modified, shown.kdf, shown.hint]);

    // Made anew from the same salt, IV and times the file is the same.
    const again = await createKeyFile(key, {
      kdf: file.kdf?.type ?? 'none',
      passphrase: goldenPassphrase,
      hint: file.hint,
      now: shown.modified,
      offsetMinutes: 0,
      salt: file.kdf?.salt,
      iv: file.kdf === null ? undefined : file.data.subarray(0, 16),
    });
    assert.equal(serializeKeyFile(again), bytes.toString());
    if (file.kdf !== null) await assert.rejects(loadKey(file, () => 'not-the-passphrase'), { code: 'format.auth-tag' });
  });
}
