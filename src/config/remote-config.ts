import { Type, type Static } from 'typebox';
import { sectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { authId, comment, fingerprint, flag, hostName, lineOfText, remoteName, tcpPort } from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** remote.cfg (spec sync 1.1). */

const { Optional } = Type;

export const remoteSchema = Type.Object({
  name: remoteName,
  'auth-id': authId,
  comment: Optional(comment),
  fingerprint: Optional(fingerprint),
  host: hostName,
  /** As stored: sealed or base64. Never returned by the API; see remote-secrets.ts. */
  password: lineOfText('Password or token secret, as stored.', { minLength: 1, maxLength: 4096 }),
  port: Optional(tcpPort),
  'use-node-proxy': Optional(flag("Use the node's http-proxy for this remote.", { default: false })),
});
export type RemoteRecord = Static<typeof remoteSchema>;
export const remoteType = sectionType('remote', 'name', remoteSchema);
export type RemoteTable = SectionTable<typeof remoteSchema>;

/** A remote without its secret: what the API returns. */
export type RemoteView = Omit<RemoteRecord, 'password'>;

export function withoutSecret(remote: RemoteRecord): RemoteView {
  const { password: _, ...view } = remote;
  return view;
}

export function remoteTable(paths: InstallationPaths): RemoteTable {
  return new SectionTable(sectionFile(paths, 'remote.cfg', [remoteType]), remoteType);
}
