import { Type } from 'typebox';
import { HttpError } from '../../base/errors.ts';
import { configDigest, deletable, trafficRuleName } from '../../config/schemas.ts';
import { changedRecord } from '../../config/section-table.ts';
import { trafficRuleSchema, type TrafficRule, type TrafficRuleTable } from '../../config/traffic-config.ts';
import { normalizeHumanByte } from '../../format/human-byte.ts';
import { ParameterError } from '../../protocol/parameters.ts';
import { jsonEndpoint, Reply, type Endpoint, type Permission } from '../endpoint.ts';
import { trimmedComment } from './job-section.ts';

export interface TrafficConfigParts {
  rules: TrafficRuleTable;
  /** Open connections are to follow. */
  onChange: () => void;
}

const modify: Permission = { kind: 'privilege', path: '/', privileges: ['Sys.Modify'] };
const audit: Permission = { kind: 'privilege', path: '/', privileges: ['Sys.Audit'] };
const { name: _name, ...changeable } = trafficRuleSchema.properties;

/** Rates as they are stored: with a blank and their unit. */
function normalized<T extends Partial<TrafficRule>>(given: T): T {
  const result = { ...given };
  for (const name of ['rate-in', 'rate-out', 'burst-in', 'burst-out'] as const) {
    const text = given[name];
    if (text !== undefined) result[name] = normalizeHumanByte(text);
  }
  return result;
}

/** `/config/traffic-control` (spec sync 9.1). Listing asks for more than reading one, as with the reference. */
export function trafficConfigEndpoints(parts: TrafficConfigParts): Endpoint[] {
  return [...readEndpoints(parts), ...writeEndpoints(parts)];
}

function readEndpoints({ rules }: TrafficConfigParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/traffic-control',
      description: 'List traffic control rules.',
      parameters: Type.Object({}),
      permission: modify,
      returns: Type.Array(trafficRuleSchema),
      handler: async () => {
        const { records, digest } = rules.list();
        return new Reply(records, { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/traffic-control/{name}',
      description: 'Read a traffic control rule.',
      parameters: Type.Object({ name: trafficRuleName }),
      permission: audit,
      returns: trafficRuleSchema,
      handler: async ({ name }) => new Reply(rules.get(name), { digest: rules.digest() }),
    }),
  ];
}

function writeEndpoints({ rules, onChange }: TrafficConfigParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/config/traffic-control',
      description: 'Create a traffic control rule.',
      parameters: trafficRuleSchema,
      permission: modify,
      handler: async (given) => {
        const record = trimmedComment(normalized(given));
        await rules.file.update((config) => {
          if (config.has(record.name)) throw new ParameterError([['name', `traffic control rule '${record.name}' already exists.`]]);
          config.set(rules.type, record);
        });
        onChange();
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/config/traffic-control/{name}',
      description: 'Change a traffic control rule.',
      parameters: Type.Object({
        name: trafficRuleName,
        ...Type.Partial(Type.Object(changeable)).properties,
        delete: Type.Optional(deletable(['rate-in', 'burst-in', 'rate-out', 'burst-out', 'comment', 'timeframe', 'users'])),
        digest: Type.Optional(configDigest),
      }),
      permission: modify,
      handler: async ({ name, delete: names, digest, ...fields }) => {
        await rules.update(name, (rule) => changedRecord(rule, { delete: names, set: normalized(fields) }), { digest });
        onChange();
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/config/traffic-control/{name}',
      description: 'Remove a traffic control rule.',
      parameters: Type.Object({ name: trafficRuleName, digest: Type.Optional(configDigest) }),
      permission: modify,
      handler: async ({ name, digest }) => {
        await rules.file.update(
          (config) => {
            if (!config.remove(rules.type, name)) throw new HttpError(404, `traffic control rule '${name}' does not exist.`);
          },
          { digest },
        );
        onChange();
        return null;
      },
    }),
  ];
}
