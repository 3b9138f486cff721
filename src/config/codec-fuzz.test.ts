import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { ConfigError } from '../base/errors.ts';
import { aclFile } from './acl-config.ts';
import type { ConfigFile } from './config-file.ts';
import { domainFile } from './domain-config.ts';
import { settingsFile } from './farshore-config.ts';
import { nodeFile } from './node-config.ts';
import { shadowFile } from './shadow-config.ts';
import { tfaFile } from './tfa-config.ts';
import { userFile } from './user-config.ts';

const seeds: Record<string, string> = {
  'acl.cfg': 'acl:1:/datastore/main:sync@pbs,sync@pbs!offsite,@ops:DatastoreReader,Audit\n',
  'domains.cfg': 'ldap: corp\n\tbase-dn dc=x\n\tserver1 h\n\tuser-attr uid\n\tport 636\n',
  'farshore.json': '{"plain-remote-secrets": true, "x": {"__proto__": 1}}',
  'node.cfg': '#about\nemail-from: a@b.c\nlocation: latitude=1.5,name="x, y"\n# later\n',
  'shadow.json': '{"a": "$y$j9T$x", "__proto__": "$5$"}',
  'tfa.json': '{"users":{"a@pbs":{"totp":[{"id":"x","entry":"otpauth://totp/a?secret=GEZD"}],"recovery":{"secret":"0","entries":[null,"00"]}}}}',
  'user.cfg': 'user: a@pbs\n\texpire 5\n\ntoken: a@pbs!tok\n\tenable false\n',
};

/** The seed with pieces cut out, doubled and put in. */
function mutated(seed: string): fc.Arbitrary<string> {
  const edit = fc.tuple(fc.nat(seed.length), fc.nat(8), fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.constantFrom('', '\n', ':', '\t', '"', '{', '}', seed, '@', '!', ',', '\u0000')));
  return fc.array(edit, { maxLength: 4 }).map((edits) => edits.reduce((text, [at, length, piece]) => text.slice(0, at) + piece + text.slice(at + length), seed));
}

test('whatever is in a file, it is read or refused with ConfigError, and writing what was read changes nothing more', async (t) => {
  const paths = await temporaryInstallation(t);
  const files: Array<ConfigFile<unknown>> = [aclFile, domainFile, settingsFile, nodeFile, shadowFile, tfaFile, userFile].map((open) => open(paths) as ConfigFile<unknown>);
  for (const file of files) {
    const name = file.path.slice(file.path.lastIndexOf('/') + 1);
    const seed = seeds[name]!;
    writeFileSync(file.path, seed);
    assert.ok(file.load().digest, `${name}: the seed itself is readable`);
    await fc.assert(
      fc.asyncProperty(mutated(seed), async (text) => {
        writeFileSync(file.path, text);
        try {
          file.load();
        } catch (e) {
          assert.ok(e instanceof ConfigError, String(e));
          return;
        }
        await file.update(() => {});
        const once = readFileSync(file.path, 'utf8');
        const { digest } = file.load();
        await file.update(() => {}, { digest });
        assert.equal(readFileSync(file.path, 'utf8'), once);
      }),
      { numRuns: 60 },
    );
  }
});
