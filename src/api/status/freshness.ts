import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { contractId, type FreshnessTable } from '../../config/freshness-config.ts';
import { missingSection } from '../../config/missing-section.ts';
import { oneOf, wholeNumber } from '../../config/schemas.ts';
import type { FreshnessWatch } from '../../freshness/watch.ts';
import { seesContract } from '../config/freshness.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

export interface FreshnessStatusParts {
  contracts: FreshnessTable;
  watch: Pick<FreshnessWatch, 'judge'>;
  access: AccessControl;
}

export const freshnessStatusSchema = Type.Object({
  id: contractId,
  store: Type.String({ description: 'Datastore of the contract.' }),
  state: oneOf(['ok', 'pending', 'unknown', 'stale', 'disabled'], 'Whether the contract holds; pending: nothing is there yet, and need not be.'),
  text: Type.String({ description: 'Why, in one sentence.' }),
  age: Type.Optional(wholeNumber('Age of the oldest thing that the contract speaks of, in seconds.')),
  newest: Type.Optional(wholeNumber('Time of it (seconds since the epoch).')),
  raised: Type.Optional(wholeNumber('Since when the alarm stands (seconds since the epoch).')),
});

/** `/status/freshness`: how the contracts stand now. */
export function freshnessStatusEndpoints({ contracts, watch, access }: FreshnessStatusParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/status/freshness',
      description: 'Look now whether the freshness contracts hold.',
      parameters: Type.Object({ id: Type.Optional(contractId) }),
      permission: { kind: 'any' },
      returns: Type.Array(freshnessStatusSchema),
      handler: async ({ id }, { authId }) => {
        const visible = contracts.list().records.filter((one) => (id === undefined || one.id === id) && seesContract(access, authId, one));
        if (id !== undefined && visible.length === 0) throw missingSection('freshness', id);
        return (await watch.judge(visible)).map(({ contract, judgement: { state, text, age, newest }, raised }) => ({
          id: contract.id,
          store: contract.store,
          state: contract.disable === true ? 'disabled' : state,
          text,
          ...(age === null || !Number.isFinite(age) ? {} : { age }),
          ...(newest === null ? {} : { newest }),
          ...(raised === null ? {} : { raised }),
        }));
      },
    }),
  ];
}
