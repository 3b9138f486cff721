import { createHash, webcrypto } from 'node:crypto';
// The certificate library's dependency injection needs this polyfill, loaded before it.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export interface TestCertificate {
  /** PEM. */
  cert: string;
  /** PEM, PKCS#8. */
  key: string;
  /** SHA-256, lower case, `:`-joined. */
  fingerprint: string;
}

const elliptic = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const rsa = { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' };

/** A new self-signed certificate. Default: for `localhost`, 127.0.0.1 and ::1, from yesterday until tomorrow, with an elliptic key. */
export async function makeCertificate(options: { dns?: string[]; ip?: string[]; notBefore?: Date; notAfter?: Date; rsa?: boolean } = {}): Promise<TestCertificate> {
  x509.cryptoProvider.set(webcrypto);
  const algorithm = options.rsa === true ? rsa : elliptic;
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const dayMs = 86_400_000;
  const names: x509.JsonGeneralName[] = [
    ...(options.dns ?? ['localhost']).map((value) => ({ type: 'dns' as const, value })),
    ...(options.ip ?? ['127.0.0.1', '::1']).map((value) => ({ type: 'ip' as const, value })),
  ];
  const serialNumber = Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex');
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber,
    // A verifier looks for issuers by subject: equal names of different certificates would confuse it.
    name: `CN=Farshore test ${serialNumber}`,
    notBefore: options.notBefore ?? new Date(Date.now() - dayMs),
    notAfter: options.notAfter ?? new Date(Date.now() + dayMs),
    signingAlgorithm: algorithm,
    keys: keys,
    extensions: [new x509.SubjectAlternativeNameExtension(names), new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const digest = createHash('sha256').update(Buffer.from(certificate.rawData)).digest('hex');
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`,
    fingerprint: digest.match(/../g)!.join(':'),
  };
}
