import type { TestContext } from 'node:test';
import { AccessControl } from '../../src/access/access-control.ts';
import { FactorChanges } from '../../src/access/factor-changes.ts';
import { aclEndpoints } from '../../src/api/access/acl.ts';
import { domainEndpoints } from '../../src/api/access/domains.ts';
import { passwordEndpoints } from '../../src/api/access/password.ts';
import { permissionEndpoints } from '../../src/api/access/permissions.ts';
import { roleEndpoints } from '../../src/api/access/roles.ts';
import { tfaEndpoints } from '../../src/api/access/tfa.ts';
import { ticketEndpoints } from '../../src/api/access/ticket.ts';
import { userTokenEndpoints } from '../../src/api/access/user-tokens.ts';
import { userEndpoints } from '../../src/api/access/users.ts';
import { registerValueFormats } from '../../src/api/value-formats.ts';
import { silentLog } from '../../src/base/log.ts';
import { aclFile, type AclFile } from '../../src/config/acl-config.ts';
import { domainFile } from '../../src/config/domain-config.ts';
import { tfaFile, type TfaFile } from '../../src/config/tfa-config.ts';
import { accessUnderTest, type AccessUnderTest } from './accounts.ts';
import { testServer, type TestServer } from './api-ground.ts';

/** Time of the recorded replies. */
export const recordedMs = 1_795_485_533_000;

export interface AccessApi extends AccessUnderTest {
  server: TestServer;
  acl: AclFile;
  tfa: TfaFile;
  /** Lines of the auth log. */
  authLog: string[];
  /** Lines of the server's log. */
  log: string[];
}

/** Everything below /access over the recorded accounts of the source server. */
export async function accessApi(t: TestContext): Promise<AccessApi> {
  registerValueFormats();
  const accounts = await accessUnderTest(t, { golden: 'source', nowMs: recordedMs });
  const acl = aclFile(accounts.paths);
  const tfa = tfaFile(accounts.paths);
  const access = new AccessControl(acl);
  const [authLog, log]: [string[], string[]] = [[], []];
  const endpoints = [
    ...ticketEndpoints({ login: accounts.login, authLog: (line) => void authLog.push(line) }),
    ...userEndpoints({ ...accounts, access }),
    ...userTokenEndpoints(accounts),
    ...aclEndpoints({ acl, access, accounts: accounts.accounts, log: { ...silentLog, info: (line) => void log.push(line) } }),
    ...roleEndpoints(),
    ...permissionEndpoints({ acl, access }),
    ...domainEndpoints({ domains: domainFile(accounts.paths) }),
    ...passwordEndpoints({ ...accounts, access }),
    ...tfaEndpoints({ ...accounts, tfa, access, factors: new FactorChanges(tfa, accounts.clock) }),
  ];
  return { ...accounts, acl, tfa, authLog, log, server: await testServer(t, { access }, endpoints) };
}

export const evePassword = 'eve-password-1';

/** A user without privileges whose password the test knows. */
export async function addEve({ changer }: AccessUnderTest): Promise<void> {
  await changer.createUser({ userid: 'eve@pbs' }, { password: evePassword });
}
