import { Type, type Static } from 'typebox';
import { ConfigFile, type Codec } from './config-file.ts';
import { sectionCodec, sharedPlace, type SectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { comment, flag, lineOfText, oneOf, realmName, tcpPort } from './schemas.ts';
import { sectionType, type SectionConfig, type SectionType } from './section-config.ts';

/** domains.cfg (spec rest-api 9.2): realms. */

const { Optional } = Type;

const shared = { comment: Optional(comment), default: Optional(flag('Proposed when a user logs in.', { default: false })) };

export const pamSchema = Type.Object({ realm: realmName, type: oneOf(['pam'], 'Realm type.'), ...shared });
export const pbsSchema = Type.Object({ realm: realmName, type: oneOf(['pbs'], 'Realm type.'), ...shared });

const directory = {
  realm: realmName,
  server1: lineOfText('Server.', { minLength: 1, maxLength: 255 }),
  server2: Optional(lineOfText('Server to try second.', { minLength: 1, maxLength: 255 })),
  port: Optional(tcpPort),
  mode: Optional(oneOf(['ldap', 'ldap+starttls', 'ldaps'], 'Connection type.', { default: 'ldap' })),
  verify: Optional(flag('Verify the certificate.', { default: false })),
  capath: Optional(lineOfText('CA certificates.', { maxLength: 4096 })),
  'bind-dn': Optional(lineOfText('DN to bind with.', { maxLength: 1024 })),
  filter: Optional(lineOfText('LDAP filter.', { maxLength: 2048 })),
  'sync-attributes': Optional(lineOfText('Attributes of names and e-mail addresses.', { maxLength: 4096 })),
  'sync-defaults-options': Optional(lineOfText('Defaults of the sync of users.', { maxLength: 4096 })),
  'user-classes': Optional(lineOfText('Object classes of users.', { maxLength: 4096 })),
  ...shared,
};
export const ldapSchema = Type.Object({ ...directory, 'base-dn': lineOfText('Where users are.', { maxLength: 1024 }), 'user-attr': lineOfText('Attribute of the user name.', { maxLength: 1024 }) });
export const adSchema = Type.Object({ ...directory, 'base-dn': Optional(lineOfText('Where users are.', { maxLength: 1024 })) });
export const openidSchema = Type.Object({
  realm: realmName,
  'issuer-url': lineOfText('Issuer.', { minLength: 1, maxLength: 4096 }),
  'client-id': lineOfText('Client ID.', { minLength: 1, maxLength: 1024 }),
  'client-key': Optional(lineOfText('Client key.', { maxLength: 4096 })),
  scopes: Optional(lineOfText('Scopes.', { maxLength: 4096 })),
  'acr-values': Optional(lineOfText('Authentication context classes.', { maxLength: 4096 })),
  prompt: Optional(lineOfText('Prompt.', { maxLength: 1024 })),
  audiences: Optional(lineOfText('Audiences.', { maxLength: 4096 })),
  autocreate: Optional(flag('Make users that are missing.', { default: false })),
  'username-claim': Optional(lineOfText('Claim with the user name.', { maxLength: 1024 })),
  ...shared,
});

export const pamType = sectionType('pam', 'realm', pamSchema);
export const pbsType = sectionType('pbs', 'realm', pbsSchema);
export const ldapType = sectionType('ldap', 'realm', ldapSchema);
export const adType = sectionType('ad', 'realm', adSchema);
export const openidType = sectionType('openid', 'realm', openidSchema);
export const realmTypes: readonly SectionType[] = [pamType, pbsType, ldapType, adType, openidType];

/** What the login screen shows of a realm. */
export interface RealmView {
  realm: string;
  type: string;
  comment?: string;
  default?: boolean;
}

const pamRecord: Static<typeof pamSchema> = { realm: 'pam', type: 'pam', comment: 'Linux PAM standard authentication', default: true };
const pbsRecord: Static<typeof pbsSchema> = { realm: 'pbs', type: 'pbs', comment: 'Proxmox Backup authentication server' };

/** The section codec; `pam` and `pbs` are always there, as the reference makes them at its first start. */
const domainCodec: Codec<SectionConfig> = (() => {
  const sections = sectionCodec(realmTypes);
  return {
    ...sections,
    parse: (text, fileName) => {
      const config = sections.parse(text, fileName);
      const hasDefault = realmsOf(config).some((realm) => realm.default === true);
      const { default: _, ...plainPam } = pamRecord;
      if (!config.has('pam')) config.set(pamType, hasDefault ? plainPam : pamRecord);
      if (!config.has('pbs')) config.set(pbsType, pbsRecord);
      return config;
    },
  };
})();

/** All realms of known types, in file order. */
export function realmsOf(config: SectionConfig): RealmView[] {
  return config.ids().flatMap(({ type, id }) => {
    const found = realmTypes.find((one) => one.type === type);
    if (found === undefined) return [];
    const record = config.get(found, id) as { comment?: string; default?: boolean };
    return [{ realm: id, type, ...(record.comment === undefined ? {} : { comment: record.comment }), ...(record.default === undefined ? {} : { default: record.default }) }];
  });
}

export function domainFile(paths: InstallationPaths): SectionFile {
  return new ConfigFile(sharedPlace(paths, 'domains.cfg'), domainCodec);
}
