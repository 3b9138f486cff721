import { Type } from 'typebox';
import { auditFiles, type AuditLog } from '../access/audit-log.ts';
import { verifyAuditFiles } from '../access/audit-verify.ts';
import { authId, wholeNumber } from '../config/schemas.ts';
import { jsonEndpoint, type Endpoint, type Permission } from './endpoint.ts';

const audit: Permission = { kind: 'privilege', path: '/', privileges: ['Sys.Audit'] };

export const auditListParameters = {
  limit: Type.Optional(wholeNumber('Newest lines to show.', { minimum: 1, maximum: 10_000, default: 50 })),
  auth: Type.Optional({ ...authId, description: 'Only what this user or token did; a user includes its tokens.' }),
};

export const notedHash = Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Hash that was noted before: it must still be there.' }));

/** The audit log, for whoever may audit the system. */
export function auditEndpoints({ log }: { log: AuditLog }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/farshore/audit',
      description: 'Show the newest lines of the audit log, newest first.',
      parameters: Type.Object(auditListParameters),
      permission: audit,
      handler: async ({ limit = 50, auth }) => log.newest(limit, (line) => auth === undefined || line.auth === auth || line.auth.startsWith(`${auth}!`)),
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/farshore/audit/verify',
      description: 'Follow the hash chain of the audit log up to the first bad line.',
      parameters: Type.Object({ contains: notedHash }),
      permission: audit,
      handler: async ({ contains }) => verifyAuditFiles(await auditFiles(log.folder), contains),
    }),
  ];
}
