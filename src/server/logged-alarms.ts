import type { ProgressLog } from '../base/log.ts';
import type { FreshnessAlarms } from '../freshness/watch.ts';

/** Alarms as lines of the server's log, before they go wherever else they go. */
export function loggedAlarms(log: ProgressLog, further?: FreshnessAlarms): FreshnessAlarms {
  return {
    raise: async (alarm) => {
      log.error(`freshness contract '${alarm.contract.id}' on datastore '${alarm.contract.store}' is broken: ${alarm.judgement.text}`);
      await further?.raise(alarm);
    },
    clear: async (alarm) => {
      log.info(`freshness contract '${alarm.contract.id}' on datastore '${alarm.contract.store}' holds again: ${alarm.judgement.text}`);
      await further?.clear(alarm);
    },
  };
}
