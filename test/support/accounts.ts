import type { TestContext } from 'node:test';
import { AccountChanger, Accounts } from '../../src/access/accounts.ts';
import { AttemptLimit } from '../../src/access/attempt-limit.ts';
import { ApiTokens } from '../../src/access/api-tokens.ts';
import { Authenticator } from '../../src/access/authenticator.ts';
import { Login } from '../../src/access/login.ts';
import { PbsRealm, realmFinder } from '../../src/access/realm.ts';
import { SecondFactor } from '../../src/access/second-factor.ts';
import { loadServerKeys } from '../../src/access/server-keys.ts';
import type { Clock } from '../../src/base/clock.ts';
import { aclFile } from '../../src/config/acl-config.ts';
import { domainFile } from '../../src/config/domain-config.ts';
import type { InstallationPaths } from '../../src/config/home.ts';
import { shadowFile, tokenShadowFile } from '../../src/config/shadow-config.ts';
import { tfaFile } from '../../src/config/tfa-config.ts';
import { userFile } from '../../src/config/user-config.ts';
import { errorCode } from '../../src/base/errors.ts';
import { verifyPassword } from '../../src/sys/crypt.ts';
import { temporaryInstallation } from './installation.ts';

async function whyNoYescrypt(): Promise<string | false> {
  try {
    await verifyPassword('x', `$y$j9T$${'.'.repeat(43)}$${'.'.repeat(43)}`);
    return false;
  } catch (e) {
    if (errorCode(e) === 'crypt.no-library') return 'libcrypt.so.1 is not installed: the recorded yescrypt hashes cannot be checked here';
    throw e;
  }
}

/** Why tests with recorded hashes cannot run on this machine; false when they can. */
export const noYescrypt = await whyNoYescrypt();

/** All of src/access over one installation, put together as the server does it, with a clock that a test moves. */
export interface AccessUnderTest {
  paths: InstallationPaths;
  clock: Clock & { ms: number };
  accounts: Accounts;
  changer: AccountChanger;
  tokens: ApiTokens;
  login: Login;
  authenticator: Authenticator;
}

export async function accessUnderTest(t: TestContext, options: { golden?: 'source' | 'target'; nowMs: number }): Promise<AccessUnderTest> {
  const paths = await temporaryInstallation(t, options.golden);
  const clock = {
    ms: options.nowMs,
    now(): number {
      return this.ms;
    },
  };
  const [users, domains] = [userFile(paths), domainFile(paths)];
  const tokens = new ApiTokens(tokenShadowFile(paths));
  const realmOf = realmFinder(domains, new PbsRealm(shadowFile(paths)));
  const accounts = new Accounts(users, clock);
  const keys = await loadServerKeys(paths);
  return {
    paths,
    clock,
    accounts,
    tokens,
    changer: new AccountChanger({ users, domains, acl: aclFile(paths), tokens, tfa: tfaFile(paths), realmOf }),
    login: new Login({ keys, accounts, realmOf, secondFactor: new SecondFactor(tfaFile(paths), clock), attempts: new AttemptLimit(clock), clock }),
    authenticator: new Authenticator({ keys, accounts, tokens, clock }),
  };
}
