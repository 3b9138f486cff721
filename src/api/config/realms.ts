import { Type, type TObject } from 'typebox';
import { HttpError } from '../../base/errors.ts';
import { adType, ldapType, openidType, pamType, pbsType, realmTypes } from '../../config/domain-config.ts';
import type { SectionFile } from '../../config/files.ts';
import { comment, configDigest, deletable, flag, realmName } from '../../config/schemas.ts';
import type { SectionConfig, SectionType } from '../../config/section-config.ts';
import { changedRecord } from '../../config/section-table.ts';
import { jsonEndpoint, Reply, type Endpoint, type Permission } from '../endpoint.ts';

const { Optional } = Type;

const audit: Permission = { kind: 'privilege', path: '/access/domains', privileges: ['Sys.Audit'] };
const allocate: Permission = { kind: 'privilege', path: '/access/domains', privileges: ['Realm.Allocate'] };
const digest = Optional(configDigest);

/**
 * Realms in domains.cfg (spec rest-api 9.2). `pam` and `pbs` can be changed; realms of other types, which a reference server may have put
 * there, can be looked at and removed: nobody logs in here with them.
 */
export function realmConfigEndpoints({ domains }: { domains: SectionFile }): Endpoint[] {
  return [...builtInRealm(domains, pamType), ...builtInRealm(domains, pbsType), ...[adType, ldapType, openidType].flatMap((type) => otherRealms(domains, type))];
}

/** The one realm of this type, which is called like it. */
function builtInRealm<S extends TObject>(domains: SectionFile, type: SectionType<S>): Endpoint[] {
  const path = `/config/access/${type.type}`;
  return [
    jsonEndpoint({
      method: 'GET',
      path,
      description: `Read the configuration of the realm ${type.type}.`,
      parameters: Type.Object({}),
      permission: audit,
      handler: async () => {
        const { value, digest: current } = domains.load();
        return new Reply(value.get(type, type.type), { digest: current });
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path,
      description: `Change the configuration of the realm ${type.type}.`,
      parameters: Type.Object({
        comment: Optional(comment),
        default: Optional(flag('Proposed when a user logs in; no other realm is then.', { default: false })),
        delete: Optional(deletable(['comment', 'default'])),
        digest,
      }),
      permission: allocate,
      handler: async ({ delete: names, digest: expected, ...set }) => {
        await domains.update(
          (config) => {
            if (set.default === true) clearDefault(config);
            const record = changedRecord(config.get(type, type.type) as Record<string, unknown>, { delete: names, set });
            if (record['default'] === false) delete record['default'];
            config.set(type, record as never);
          },
          { digest: expected },
        );
      },
    }),
  ];
}

/** At most one realm is the default. */
function clearDefault(config: SectionConfig): void {
  for (const { type: name, id } of config.ids()) {
    const type = realmTypes.find((one) => one.type === name);
    if (type === undefined) continue;
    const { default: isDefault, ...record } = config.get(type, id) as Record<string, unknown>;
    if (isDefault !== undefined) config.set(type, record);
  }
}

function otherRealms(domains: SectionFile, type: SectionType): Endpoint[] {
  const path = `/config/access/${type.type}`;
  return [
    jsonEndpoint({
      method: 'GET',
      path,
      description: `List realms of type ${type.type}.`,
      parameters: Type.Object({}),
      permission: allocate,
      handler: async () => {
        const { value, digest: current } = domains.load();
        return new Reply(value.list(type), { digest: current });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: `${path}/{realm}`,
      description: `Read the configuration of a realm of type ${type.type}.`,
      parameters: Type.Object({ realm: realmName }),
      permission: audit,
      handler: async ({ realm }) => {
        const { value, digest: current } = domains.load();
        return new Reply(value.get(type, realm), { digest: current });
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: `${path}/{realm}`,
      description: `Remove a realm of type ${type.type}.`,
      parameters: Type.Object({ realm: realmName, digest }),
      permission: allocate,
      handler: async ({ realm, digest: expected }) => {
        await domains.update(
          (config) => {
            if (!config.remove(type, realm)) throw new HttpError(404, `realm '${realm}' does not exist.`);
          },
          { digest: expected },
        );
      },
    }),
  ];
}
