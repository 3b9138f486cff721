import type { NodeConfig } from '../config/node-config.ts';

const suitesOf13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
/** Authenticated, with forward secrecy: Mozilla's intermediate recommendation (spec server 10), but for the two with finite-field Diffie-Hellman. */
const suitesOf12 = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

export const usualCiphers = [...suitesOf13, ...suitesOf12].join(':');

/** Node takes the suites of TLS 1.3 and the list of TLS 1.2 as one text; what node.cfg does not set stays as it is by default. Undefined: nothing is set. */
export function configuredCiphers(node: NodeConfig): string | undefined {
  const [newer, older] = [node['ciphers-tls-1.3'], node['ciphers-tls-1.2']];
  if (newer === undefined && older === undefined) return undefined;
  return [newer ?? suitesOf13.join(':'), older ?? suitesOf12.join(':')].join(':');
}
