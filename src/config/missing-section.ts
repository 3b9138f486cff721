import { ConfigError } from '../base/errors.ts';

/** Section types whose entries a command of the manager lists. */
const commandWords: Readonly<Record<string, string>> = { datastore: 'datastore', remote: 'remote', sync: 'sync-job', prune: 'prune-job', verification: 'verify-job', user: 'user', 'sync-key': 'encryption-key' };

/** ConfigError `config.missing` in the reference's words, `no such sync 'x'`, with the command that shows what there is. */
export function missingSection(type: string, id: string): ConfigError {
  const word = commandWords[type];
  return new ConfigError('config.missing', `no such ${type} '${id}'`, word === undefined ? {} : { hint: `see what there is: farshore ${word} list` });
}
