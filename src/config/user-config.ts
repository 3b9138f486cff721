import { Type, type Static } from 'typebox';
import { ConfigFile, type Codec } from './config-file.ts';
import { sectionCodec, sharedPlace, type SectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import { comment, email, enable, expire, personName, tokenId, userId } from './schemas.ts';
import { sectionType, type SectionConfig } from './section-config.ts';

/** user.cfg (spec rest-api 9.1). */

const { Optional } = Type;

export const superuser = 'root@pam';

export const userSchema = Type.Object({
  userid: userId,
  comment: Optional(comment),
  email: Optional(email),
  enable: Optional(enable),
  expire: Optional(expire),
  firstname: Optional(personName('First name.')),
  lastname: Optional(personName('Last name.')),
});
export type UserRecord = Static<typeof userSchema>;
export const userType = sectionType('user', 'userid', userSchema);

export const tokenSchema = Type.Object({
  tokenid: tokenId,
  comment: Optional(comment),
  enable: Optional(enable),
  expire: Optional(expire),
});
export type TokenRecord = Static<typeof tokenSchema>;
export const tokenType = sectionType('token', 'tokenid', tokenSchema);

const superuserRecord: UserRecord = { userid: superuser, comment: 'Superuser' };

/** The section codec, with root@pam always there: added in memory when it is missing, and so written with the next change. */
const userCodec: Codec<SectionConfig> = (() => {
  const sections = sectionCodec([userType, tokenType]);
  return {
    ...sections,
    parse: (text, fileName) => {
      const config = sections.parse(text, fileName);
      if (!config.has(superuser)) config.set(userType, superuserRecord);
      return config;
    },
  };
})();

export function userFile(paths: InstallationPaths): SectionFile {
  return new ConfigFile(sharedPlace(paths, 'user.cfg'), userCodec);
}
