import { DEFAULT_CIPHERS } from 'node:tls';
import type { NodeConfig } from '../config/node-config.ts';

/** Node takes the suites of TLS 1.3 and the list of TLS 1.2 as one text; what node.cfg does not set stays as it is by default. Undefined: nothing is set. */
export function configuredCiphers(node: NodeConfig): string | undefined {
  const [newer, older] = [node['ciphers-tls-1.3'], node['ciphers-tls-1.2']];
  if (newer === undefined && older === undefined) return undefined;
  const usual = DEFAULT_CIPHERS.split(':');
  const isNewer = (name: string): boolean => name.startsWith('TLS_');
  return [newer ?? usual.filter(isNewer).join(':'), older ?? usual.filter((name) => !isNewer(name)).join(':')].join(':');
}
