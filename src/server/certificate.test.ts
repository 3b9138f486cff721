import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { certificateInfo, ensureCertificate, loadCertificate, type CertificateFiles, type EnsureCertificateOptions } from './certificate.ts';

const recorded = JSON.parse(await readFile(new URL('../../test/fixtures/server/certificate-info.json', import.meta.url), 'utf8')) as { pem: string; filename: string };

async function folder(t: TestContext): Promise<CertificateFiles> {
  const path = await mkdtemp(join(tmpdir(), 'certificate-'));
  t.after(() => rm(path, { recursive: true }));
  return { certificate: join(path, 'proxy.pem'), key: join(path, 'proxy.key') };
}

function optionsFor(files: CertificateFiles, more: Partial<EnsureCertificateOptions> = {}): EnsureCertificateOptions {
  return { files, hostName: 'vault.example.org', rights: { mode: 0o640, owner: null }, clock: systemClock, log: silentLog, ...more };
}

function warnings(): { log: ProgressLog; lines: string[] } {
  const lines: string[] = [];
  return { lines, log: { ...silentLog, warn: (line) => lines.push(line) } };
}

test('the description of a recorded certificate is the recorded one', () => {
  assert.deepEqual(certificateInfo(recorded.filename, recorded.pem), recorded);
});

test('makes a pair once, for the names of this host, and keeps it', async (t) => {
  const files = await folder(t);
  const made = await ensureCertificate(optionsFor(files));
  const parsed = new X509Certificate(made.certificate);
  for (const name of ['localhost', 'vault', 'vault.example.org']) assert.equal(parsed.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1']) assert.equal(parsed.checkIP(address), address);
  assert.ok(parsed.verify(parsed.publicKey));
  assert.equal(parsed.ca, false);
  assert.deepEqual(certificateInfo('proxy.pem', made.certificate).san, ['localhost', 'vault', 'vault.example.org']);
  assert.match(made.fingerprint, /^([0-9a-f]{2}:){31}[0-9a-f]{2}$/);
  for (const path of [files.certificate, files.key]) assert.equal((await stat(path)).mode & 0o777, 0o640);
  assert.deepEqual(await ensureCertificate(optionsFor(files, { hostName: 'other' })), made);
});

test('servers that start at the same time agree on one pair', async (t) => {
  const files = await folder(t);
  const made = await Promise.all([1, 2, 3, 4].map(() => ensureCertificate(optionsFor(files))));
  assert.equal(new Set(made.map((one) => one.fingerprint)).size, 1);
});

test('a key that is there gets a certificate, also an RSA key of the reference', async (t) => {
  const files = await folder(t);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(files.key, privateKey.export({ type: 'pkcs1', format: 'pem' }));
  const made = await ensureCertificate(optionsFor(files));
  assert.ok(new X509Certificate(made.certificate).checkPrivateKey(privateKey));
  assert.equal(certificateInfo('proxy.pem', made.certificate)['public-key-type'], 'rsaEncryption');
});

test('a certificate that lost its key, or has a wrong one, is an error and stays', async (t) => {
  const files = await folder(t);
  await writeFile(files.certificate, recorded.pem);
  const refused = (text: RegExp): Promise<void> =>
    assert.rejects(ensureCertificate(optionsFor(files)), (e) => e instanceof ConfigError && e.code === 'config.certificate' && text.test(e.message) && e.hint !== undefined);
  await refused(/no key/);
  await writeFile(files.key, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await refused(/not the key/);
  await writeFile(files.key, 'secret nonsense');
  await refused(/no PEM private key/);
  await writeFile(files.certificate, 'nonsense');
  await refused(/no PEM certificate/);
  assert.equal(await readFile(files.certificate, 'utf8'), 'nonsense');
  await chmod(files.certificate, 0o600);
});

test('an expired certificate is served with a warning that says what to do', async (t) => {
  const files = await folder(t);
  await ensureCertificate(optionsFor(files));
  const late: Clock = { now: () => systemClock.now() + 365_001 * 86_400_000 };
  const { log, lines } = warnings();
  await loadCertificate(files, late, log);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /expired on .*restart to have a new pair made/);
  const early: Clock = { now: () => 0 };
  await loadCertificate(files, early, log);
  assert.match(lines[1]!, /not valid before/);
});

test('a chain is accepted: the first certificate counts', async (t) => {
  const files = await folder(t);
  const made = await ensureCertificate(optionsFor(files));
  await writeFile(files.certificate, made.certificate + recorded.pem);
  assert.equal((await loadCertificate(files, systemClock, silentLog)).fingerprint, made.fingerprint);
});
