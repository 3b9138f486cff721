import { createPrivateKey, createPublicKey, generateKeyPair, randomUUID, webcrypto, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
// @peculiar/x509 does not load without it.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { Clock } from '../base/clock.ts';
import { ConfigError, errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { createFileOnce, type FileRights } from '../config/atomic-file.ts';

/** Days that a new certificate is good for, as the reference's (spec server 10). */
const validDays = 365_000;

/** The server's certificate and key, as on disk (spec server 10). */
export interface ServerCertificate {
  /** PEM; the first certificate is the server's, a chain may follow. */
  certificate: string;
  /** PEM. */
  key: string;
  /** SHA-256 of the first certificate's DER: 32 lowercase hex pairs with `:`. */
  fingerprint: string;
}

export interface CertificateFiles {
  /** `proxy.pem`. */
  certificate: string;
  /** `proxy.key`. */
  key: string;
}

/** Entry of `GET /nodes/{node}/certificates/info`. Times in seconds since the epoch. */
export interface CertificateInfo {
  filename: string;
  fingerprint: string;
  issuer: string;
  subject: string;
  notafter: number;
  notbefore: number;
  pem: string;
  'public-key-bits': number;
  'public-key-type': string;
  san: string[];
}

export interface EnsureCertificateOptions {
  files: CertificateFiles;
  /** Fully qualified where known; also the certificate's CN. */
  hostName: string;
  /** Mode 0640 and the owner of the two files. */
  rights: FileRights;
  clock: Clock;
  log: ProgressLog;
}

/**
 * The certificate on disk; made first where there is none. A key without certificate gets one. A certificate without key is
 * never replaced by itself: every client and peer has its fingerprint. Throws ConfigError `config.certificate`.
 */
export async function ensureCertificate(options: EnsureCertificateOptions): Promise<ServerCertificate> {
  const { files, log } = options;
  const [certificate, key] = await Promise.all([readOptional(files.certificate), readOptional(files.key)]);
  if (certificate === null) {
    if (key === null) await createFileOnce(files.key, Buffer.from(await newKey()), options.rights);
    // Read back: another process may have been faster.
    const pem = await selfSigned(privateKey(await readFile(files.key, 'utf8'), files), options.hostName, options.clock);
    if (await createFileOnce(files.certificate, Buffer.from(pem), options.rights)) log.info(`made a self-signed certificate, fingerprint ${fingerprintOf(new X509Certificate(pem))}`);
  }
  return loadCertificate(files, options.clock, log);
}

/** Loads and checks the pair; warns when it has expired or is not valid yet, and serves it all the same. Throws ConfigError `config.certificate`. */
export async function loadCertificate(files: CertificateFiles, clock: Clock, log: ProgressLog): Promise<ServerCertificate> {
  const [certificate, key] = await Promise.all([readOptional(files.certificate), readOptional(files.key)]);
  if (certificate === null || key === null) {
    throw new ConfigError('config.certificate', `the server has ${certificate === null ? 'no certificate' : 'a certificate but no key'}: ${certificate === null ? files.certificate : files.key} is missing`, {
      hint: `Put the file back from a backup, or remove ${files.certificate} and restart to have a new pair made; clients and peers then need its new fingerprint.`,
    });
  }
  const parsed = checkedCertificate(certificate, key, files);
  const problem = validityProblem(parsed, clock.now());
  if (problem !== null) log.warn(`certificate ${files.certificate} ${problem}; peers that do not pin its fingerprint will refuse it. Install a valid one, or remove it and ${files.key} and restart to have a new pair made.`);
  return { certificate, key, fingerprint: fingerprintOf(parsed) };
}

/** The first certificate of a pair (PEM) whose key fits. Throws ConfigError `config.certificate`, which names `files`. */
export function checkedCertificate(certificate: string, key: string, files: CertificateFiles): X509Certificate {
  const parsed = parseCertificate(certificate, files);
  if (!parsed.checkPrivateKey(privateKey(key, files))) {
    throw new ConfigError('config.certificate', `${files.key} is not the key of ${files.certificate}`, { hint: 'Install the key that belongs to the certificate, or remove both files and restart to have a new pair made.' });
  }
  return parsed;
}

/** A new key and a certificate for it, both PEM. */
export async function newSelfSigned(hostName: string, clock: Clock): Promise<{ certificate: string; key: string }> {
  const key = await newKey();
  return { key, certificate: await selfSigned(createPrivateKey(key), hostName, clock) };
}

/** What is wrong with the certificate's time, null when nothing is. */
export function validityProblem(certificate: X509Certificate, nowMs: number): string | null {
  if (nowMs > certificate.validToDate.getTime()) return `expired on ${certificate.validToDate.toISOString()}`;
  if (nowMs < certificate.validFromDate.getTime()) return `is not valid before ${certificate.validFromDate.toISOString()} (or the clock is wrong)`;
  return null;
}

/** Fingerprint as all clients write it (spec server 10). */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.toLowerCase();
}

/** The reference's description of a certificate; `pem` is its first certificate only. */
export function certificateInfo(filename: string, pem: string): CertificateInfo {
  const certificate = new X509Certificate(pem);
  const { type, bits } = publicKeyInfo(certificate.publicKey);
  return {
    filename,
    fingerprint: fingerprintOf(certificate),
    issuer: nameText(certificate.issuer),
    subject: nameText(certificate.subject),
    notafter: Math.floor(certificate.validToDate.getTime() / 1000),
    notbefore: Math.floor(certificate.validFromDate.getTime() / 1000),
    pem: certificate.toString(),
    'public-key-bits': bits,
    'public-key-type': type,
    san: [...(certificate.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,]+)/g)].map((match) => match[1]!),
  };
}

/** Node writes one component a line, `CN=x`; the reference `O = a, CN = x`. */
function nameText(name: string): string {
  return name
    .split('\n')
    .map((part) => part.replace('=', ' = '))
    .join(', ');
}

const curveBits: Record<string, number> = { prime256v1: 256, secp384r1: 384, secp521r1: 521 };

/** OpenSSL's names. */
function publicKeyInfo(key: KeyObject): { type: string; bits: number } {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key;
  if (type === 'rsa') return { type: 'rsaEncryption', bits: details.modulusLength ?? 0 };
  if (type === 'ec') return { type: 'id-ecPublicKey', bits: curveBits[details.namedCurve ?? ''] ?? 0 };
  if (type === 'ed25519') return { type: 'ED25519', bits: 256 };
  return { type: type ?? 'unknown', bits: 0 };
}

/** ECDSA P-256: made in a millisecond where RSA 4096 takes seconds, handshakes cost a tenth, and every reference client and peer takes it. */
async function newKey(): Promise<string> {
  const { privateKey: key } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return key.export({ type: 'pkcs8', format: 'pem' });
}

/** A certificate for the key, by the reference's profile (spec server 10) but with a random serial. */
async function selfSigned(key: KeyObject, hostName: string, clock: Clock): Promise<string> {
  const algorithm = keyAlgorithm(key);
  const keys = {
    privateKey: key.toCryptoKey(algorithm, false, ['sign']),
    publicKey: createPublicKey(key).toCryptoKey(algorithm, true, ['verify']),
  };
  const notBefore = new Date(Math.floor(clock.now() / 1000) * 1000);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ O: ['Farshore'] }, { OU: [randomUUID().toUpperCase()] }, { CN: [hostName] }],
      notBefore,
      notAfter: new Date(notBefore.getTime() + validDays * 86_400_000),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(alternativeNames(hostName)),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString('pem').trim()}\n`;
}

function keyAlgorithm(key: KeyObject): { name: string; namedCurve?: string; hash: string } {
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  throw new ConfigError('config.certificate', `no certificate can be made for a key of type ${key.asymmetricKeyType ?? 'unknown'}: RSA or EC P-256 is needed`);
}

function alternativeNames(hostName: string): Array<{ type: 'ip' | 'dns'; value: string }> {
  const names = new Set(['localhost', hostName.split('.')[0]!, hostName].filter((name) => name !== '' && isIP(name) === 0));
  return [{ type: 'ip', value: '127.0.0.1' }, { type: 'ip', value: '::1' }, ...[...names].map((value) => ({ type: 'dns' as const, value }))];
}

async function readOptional(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw new ConfigError('config.certificate', `cannot read ${path}`, { cause: e });
  }
}

function parseCertificate(pem: string, files: CertificateFiles): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (e) {
    throw new ConfigError('config.certificate', `${files.certificate} is no PEM certificate`, { cause: e, hint: 'Install a PEM certificate, or remove it and its key and restart to have a new pair made.' });
  }
}

function privateKey(pem: string, files: CertificateFiles): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out: its text may quote the key.
    throw new ConfigError('config.certificate', `${files.key} is no PEM private key without password`, { hint: 'Install the key that belongs to the certificate, without a password.' });
  }
}
