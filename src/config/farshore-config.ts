import { Type, type Static } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { ConfigFile, type Codec } from './config-file.ts';
import { secretPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { recordProblem } from './schema-check.ts';
import { flag, jobId, wholeNumber } from './schemas.ts';

/**
 * farshore.json beside the reference's files: settings that the reference does not have. It refuses unknown keys in node.cfg
 * but ignores files that it does not know. Unknown keys here are kept.
 */

export const farshoreSettingsSchema = Type.Object({
  'plain-remote-secrets': Type.Optional(
    flag("Store the passwords of remotes as the reference does (base64, readable), because remote.cfg is shared with a reference server.", { default: false }),
  ),
  'sync-backfill': Type.Optional(Type.Array(jobId, { maxItems: 4096, description: 'Sync jobs that fill gaps in the target: older, deleted or corrupt snapshots that the keep rules of its prune jobs would keep.' })),
  'sync-bandwidth': Type.Optional(Type.String({ maxLength: 1024, format: 'bandwidth-timetable', description: 'Bandwidth of all sync jobs together, by the time of day: `mon..fri 8-18=5MiB, else unlimited`. Running jobs share it equally.' })),
  'sync-job-bandwidth': Type.Optional(Type.Array(Type.String({ maxLength: 1100 }), { maxItems: 4096, description: 'Bandwidth timetables of sync jobs: id, blank, timetable.' })),
  'sync-attempts': Type.Optional(wholeNumber('Attempts of a sync job between which nothing at all arrived, before it gives up. The pauses between them grow to 30 seconds.', { minimum: 1, maximum: 1000, default: 8 })),
  'sync-stall-timeout': Type.Optional(wholeNumber('Seconds without a byte after which a connection of a sync job counts as lost. Servers hold back refusals for 3 seconds.', { minimum: 5, maximum: 3600 })),
});
export type FarshoreSettings = Static<typeof farshoreSettingsSchema>;

const settingsCodec: Codec<FarshoreSettings> = {
  parse(text, fileName) {
    if (text.trim() === '') return {};
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (e) {
      throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not valid JSON`, { cause: e });
    }
    if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not an object`);
    const problem = recordProblem(farshoreSettingsSchema, json as Record<string, unknown>);
    if (problem !== null) throw new ConfigError('config.syntax', `parsing "${fileName}" failed: '${problem.name}': ${problem.problem}`);
    return json;
  },
  serialize: (settings) => `${JSON.stringify(settings, null, 2)}\n`,
  clone: (settings) => structuredClone(settings),
};

export type SettingsFile = ConfigFile<FarshoreSettings>;

export function settingsFile(paths: InstallationPaths): SettingsFile {
  return new ConfigFile(secretPlace(paths, 'farshore.json'), settingsCodec);
}
