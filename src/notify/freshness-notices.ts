import type { Clock } from '../base/clock.ts';
import { nowSeconds } from '../base/clock.ts';
import type { FreshnessAlarm, FreshnessAlarms } from '../freshness/watch.ts';
import type { TemplateName } from './builtin-templates.ts';
import type { Severity } from './matching.ts';
import type { Notifier } from './notifier.ts';

/** Alarms of freshness contracts as notifications of type `freshness`: one when a contract is broken, one when it holds again. */
export function freshnessNotices({ notifier, clock }: { notifier: Pick<Notifier, 'notify'>; clock: Clock }): FreshnessAlarms {
  const tell = (template: TemplateName, severity: Severity, { contract, judgement }: FreshnessAlarm): Promise<void> => {
    notifier.notify({
      template,
      severity,
      fields: { type: 'freshness', datastore: contract.store, contract: contract.id },
      data: { datastore: contract.store, contract: contract.id, reason: judgement.text },
      time: nowSeconds(clock),
      // An episode is told once as it is.
      cause: null,
    });
    return Promise.resolve();
  };
  return { raise: (alarm) => tell('freshness-err', 'error', alarm), clear: (alarm) => tell('freshness-ok', 'notice', alarm) };
}
