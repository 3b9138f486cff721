import { Type, type Static } from 'typebox';
import { ConfigFile } from './config-file.ts';
import { sectionCodec, secretPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { backupId, backupType, comment, datastoreName, flag, jobId, maxDepth, namespace, safeId, wholeNumber } from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** freshness.cfg: how old the newest copy may be. Our own file, which the reference does not read; closed, since heartbeat addresses are as good as passwords. */

const { Optional } = Type;

export const contractId = safeId('Contract ID.');
/** The grammar is checked by whoever stores a contract. */
export const maxAge = Type.String({ minLength: 1, maxLength: 64, pattern: '^[0-9a-zA-Z ]+$', typetext: '<time-span>', description: 'Oldest age of the newest snapshot, e.g. `26h` or `3d`.' });
export const heartbeatUrl = Type.String({
  maxLength: 1024,
  pattern: '^https?://[!-~]+$',
  typetext: '<URL>',
  description: 'Address that is asked with GET at every check while the contract holds, so that somebody else notices when this server is off.',
});

export const freshnessScope = {
  job: Optional({ ...jobId, description: 'Sync job: its last successful run and the newest snapshot that it brought must both be young enough.' }),
  ns: Optional(namespace),
  'max-depth': Optional(maxDepth),
  'backup-type': Optional(backupType),
  'backup-id': Optional(backupId),
  verified: Optional(flag('Count only snapshots whose verification found them good.', { default: false })),
  'every-group': Optional(flag('Every group that was ever seen must have a young snapshot, not only one of them.', { default: false })),
};

export const freshnessContractSchema = Type.Object({
  id: contractId,
  store: { ...datastoreName, description: 'Datastore of the copies.' },
  'max-age': maxAge,
  /** From then on what is missing counts as missing. */
  since: wholeNumber('When the contract was last set (seconds since the epoch).', { minimum: 0 }),
  ...freshnessScope,
  heartbeat: Optional(heartbeatUrl),
  disable: Optional(flag('Do not watch.', { default: false })),
  comment: Optional(comment),
});
export type FreshnessContract = Static<typeof freshnessContractSchema>;
export const freshnessContractType = sectionType('freshness', 'id', freshnessContractSchema);
export type FreshnessTable = SectionTable<typeof freshnessContractSchema>;

export function freshnessTable(paths: InstallationPaths): FreshnessTable {
  return new SectionTable(new ConfigFile(secretPlace(paths, 'freshness.cfg'), sectionCodec([freshnessContractType])), freshnessContractType);
}
