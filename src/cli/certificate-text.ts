import { X509Certificate, createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { renderCertificateTime } from '../terminal/renderers.ts';

/** Names of key types as OpenSSL has them. */
const keyTypes: Readonly<Record<string, string>> = { rsa: 'rsaEncryption', ec: 'id-ecPublicKey', ed25519: 'ED25519', ed448: 'ED448' };
const curveBits: Readonly<Record<string, number>> = { prime256v1: 256, secp384r1: 384, secp521r1: 521 };

/** `CN = name, O = organisation`, in the certificate's order. Node gives one part per line. */
function nameText(lines: string): string {
  return lines
    .split('\n')
    .map((part) => part.replace('=', ' = '))
    .join(', ');
}

/** The bytes of an IP address. */
export function addressBytes(address: string): number[] {
  if (isIP(address) === 4) return address.split('.').map(Number);
  const [head = '', tail] = address.split('::');
  const words = (text: string): number[] =>
    text
      .split(':')
      .filter((piece) => piece !== '')
      .flatMap((piece) => (piece.includes('.') ? piece.split('.').map(Number) : [Number.parseInt(piece, 16) >> 8, Number.parseInt(piece, 16) & 0xff]));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  return [...before, ...Array.from({ length: 16 - before.length - after.length }, () => 0), ...after];
}

const alternativeNameKinds: Readonly<Record<string, string>> = { DNS: 'DNS', 'IP Address': 'IP', email: 'EMAIL', URI: 'URI' };

/** Alternative names from Node's text `DNS:a, IP Address:1.2.3.4`, where a value with special characters is a JSON string. */
function alternativeNames(text: string): string[] {
  const names: string[] = [];
  for (const [, kind = '', quoted, plain = ''] of text.matchAll(/([A-Za-z ]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/g)) {
    const shown = alternativeNameKinds[kind];
    if (shown === undefined) continue;
    const value = quoted === undefined ? plain : String(JSON.parse(quoted));
    names.push(`${shown}:${shown === 'IP' ? `[${addressBytes(value).join(', ')}]` : value}`);
  }
  return names;
}

/** What `cert info` prints about a certificate in PEM form (spec manager-cli 8). */
export function certificateText(pem: string): string {
  const certificate = new X509Certificate(pem);
  const { asymmetricKeyType: type = 'unknown', asymmetricKeyDetails: details } = certificate.publicKey;
  const bits = details?.modulusLength ?? curveBits[details?.namedCurve ?? ''] ?? 256;
  const fingerprint = createHash('sha256').update(certificate.raw).digest('hex').replace(/(..)(?!$)/g, '$1:');
  return [
    `Subject: ${nameText(certificate.subject)}`,
    ...alternativeNames(certificate.subjectAltName ?? '').map((text) => `    ${text}`),
    `Issuer: ${nameText(certificate.issuer)}`,
    'Validity:',
    `    Not Before: ${renderCertificateTime(certificate.validFromDate)}`,
    `    Not After : ${renderCertificateTime(certificate.validToDate)}`,
    `Fingerprint (sha256): ${fingerprint}`,
    `Public key type: ${keyTypes[type] ?? type}`,
    `Public key bits: ${bits}`,
  ]
    .map((text) => `${text}\n`)
    .join('');
}
