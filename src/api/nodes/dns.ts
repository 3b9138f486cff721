import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { errorCode } from '../../base/errors.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

export interface DnsSettings {
  /** SHA-256 of the file. */
  digest: string;
  search?: string;
  dns1?: string;
  dns2?: string;
  dns3?: string;
}

/** First search domain and up to three servers of a resolv.conf. */
export function parseResolvConf(content: Uint8Array): DnsSettings {
  const lines = Buffer.from(content).toString('latin1').split('\n').map((line) => line.trim().split(/\s+/));
  const servers = lines.filter(([key, value]) => key === 'nameserver' && value !== undefined).map(([, value]) => value!);
  const search = lines.findLast(([key, value]) => (key === 'search' || key === 'domain') && value !== undefined)?.[1];
  const named = Object.fromEntries(servers.slice(0, 3).map((server, i) => [`dns${i + 1}`, server]));
  return { digest: createHash('sha256').update(content).digest('hex'), ...(search === undefined ? {} : { search }), ...named };
}

/** How the host resolves names, for reading: the file belongs to the host. */
export function dnsEndpoints({ file = '/etc/resolv.conf' }: { file?: string } = {}): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/dns',
      description: 'Read DNS settings.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/system/network/dns', privileges: ['Sys.Audit'] },
      handler: async () => parseResolvConf(await readOptional(file)),
    }),
  ];
}

async function readOptional(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return new Uint8Array(0);
    throw e;
  }
}
