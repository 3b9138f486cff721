import type { RemoteTable } from '../config/remote-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import { RemoteEndpoint } from '../protocol/remote-endpoint.ts';

/** What it takes to connect to a configured remote. */
export interface RemoteParts {
  remotes: RemoteTable;
  secrets: RemoteSecrets;
}

/** The endpoint of a remote entry. ConfigError `no such remote 'x'`, `config.remote-secret` when its password cannot be had, `config.host`. */
export function remoteEndpoint({ remotes, secrets }: RemoteParts, name: string): RemoteEndpoint {
  const record = remotes.get(name);
  return new RemoteEndpoint({
    host: record.host,
    port: record.port,
    authId: record['auth-id'],
    secret: secrets.open(name, record.password),
    fingerprint: record.fingerprint,
  });
}
