import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { Peer, type Ran } from '../support/peer.ts';
import { writeGoldenFiles } from '../support/peer-backups.ts';

/**
 * The commands that a replication is set up and watched with, in one order for both managers, and what goes wrong with them. `DIR` is the folder that
 * the server has its datastores in. Each is run as it stands, and again in JSON where it has that.
 */
const script = `
user create sync@pbs --comment 'Offsite sync' --password labsecret-1
user create sync@pbs
user create nobody@nowhere
user create bad
user update sync@pbs --email sync@example.org --firstname Ada
user update nobody@pbs --comment x
user list
user generate-token sync@pbs offsite --comment 'Pull'
user generate-token sync@pbs t
user generate-token sync@pbs offsite
user list-tokens sync@pbs
user delete-token sync@pbs t
user delete-token sync@pbs t
user create old@pbs --expire 1 --enable 0
user list
user remove old@pbs
user remove old@pbs
acl update /datastore/main DatastoreReader --auth-id sync@pbs
acl update /datastore/main DatastoreReader --auth-id sync@pbs!offsite
acl update / Audit --auth-id sync@pbs --propagate 0
acl update /datastore/main Nothing --auth-id sync@pbs
acl update /datastore/main DatastoreReader
acl update /nowhere/at/all Audit --auth-id sync@pbs
acl update /datastore/main DatastoreReader --auth-id gone@pbs
acl update /datastore/main DatastoreReader --auth-id sync@pbs!gone
acl list
user permissions sync@pbs
user permissions sync@pbs!offsite
user permissions sync@pbs --path /datastore/main
user permissions gone@pbs
datastore list
datastore show main
datastore show nothing
datastore create main DIR/other
datastore create other relative/path
datastore create other DIR/main
datastore update main --comment 'All of it' --gc-schedule daily --tuning gc-atime-safety-check=1,sync-level=file
datastore update main --gc-schedule sometimes
datastore update main --keep-last 3
datastore update nothing --comment x
datastore list
datastore show main
datastore update main --delete comment --delete gc-schedule --delete tuning
datastore show main
remote create pbs-hq --host 192.0.2.7 --auth-id sync@pbs!offsite --password secret --port 8008 --comment 'Headquarters'
remote create pbs-hq --host 192.0.2.7 --auth-id sync@pbs --password secret
remote create hq --host 192.0.2.7 --auth-id sync@pbs --password secret
remote create other --host 192.0.2.7 --auth-id sync@pbs
remote create other --host 'not a host' --auth-id sync@pbs --password secret --fingerprint zz
remote list
remote show pbs-hq
remote show nothing
remote update pbs-hq --host hq.example.org --delete port --delete comment
remote update nothing --host hq.example.org
remote show pbs-hq
sync-job create offsite-nightly --remote pbs-hq --remote-store main --store main --schedule 'mon..fri 02:30' --rate-in 10MiB --remove-vanished false --group-filter type:vm --group-filter exclude:regex:^vm/9 --comment 'Nightly pull'
sync-job create offsite-nightly --remote pbs-hq --remote-store main --store main
sync-job create second --remote-store main --store main
sync-job create second --remote pbs-hq --store main
sync-job create second --remote pbs-hq --remote-store main --store main --schedule never
sync-job create second --remote pbs-hq --remote-store main --store main --max-depth 9 --transfer-last 0
sync-job create second --remote pbs-hq --remote-store main --store main --group-filter nothing
sync-job list
sync-job list --sync-direction all
sync-job show offsite-nightly
sync-job show nothing
sync-job update offsite-nightly --schedule hourly --delete comment --delete group-filter --transfer-last 3
sync-job update nothing --schedule hourly
sync-job show offsite-nightly
sync-job run nothing
remote remove pbs-hq
sync-job remove offsite-nightly
sync-job remove offsite-nightly
remote remove pbs-hq
remote remove pbs-hq
prune-job create offsite-prune --store main --schedule 'sun 04:00' --keep-daily 14 --keep-weekly 8 --keep-monthly 12
prune-job create offsite-prune --store main --schedule daily
prune-job create second --store main
prune-job create second --store main --schedule daily --keep-last 0
prune-job list
prune-job show offsite-prune
prune-job show nothing
prune-job update offsite-prune --delete keep-weekly --keep-last 5 --disable true
prune-job list
prune-job remove nothing
prune-job run nothing
prune-job remove offsite-prune
verify-job create weekly --store main --schedule weekly --outdated-after 30 --ignore-verified true
verify-job create weekly --store main
verify-job create second
verify-job list
verify-job show weekly
verify-job show nothing
verify-job update weekly --ignore-verified false --delete outdated-after --comment 'All again'
verify-job show weekly
verify-job run nothing
verify-job remove nothing
garbage-collection status main
garbage-collection list
garbage-collection start main
garbage-collection start nothing
garbage-collection status nothing
garbage-collection list
verify main
verify main --ignore-verified false
verify nothing
verify-job run weekly
verify-job remove weekly
pull pbs-hq main main
task list --all --limit 4
task list
task log UPID:nowhere
task log 'UPID:host:00007002:000BE896:00000013:6B04EF42:verify:main:root@pam:'
datastore remove nothing
datastore remove main
datastore list
user remove sync@pbs
acl list
nothing
user
user nothing
user list surplus
`;

/** Commands whose result can be had in JSON. */
const withFormat = /^(?:\S+ (?:list|show|list-tokens|permissions|status)\b|task list)/;
/**
 * What stays this server's own: progress of the work, and lines for people only. The reference loses the last line of a task that fails at once; the
 * manager's error that follows says the same.
 */
const ownLines = /^(?:Hint: .*| in namespace '.*'|Prune job created: .*|TASK ERROR: .*|queued notification .*|(?:marked|processed) \d+% .*|Chunk cache: .*|Using access time .*|percentage done: .*|Chunkstore create: \d+%)\n/gm;

/** A line's words, single quotes respected. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);
}

/** What a manager said, in the words that both must have in common. */
function comparable({ status, stdout, stderr }: Ran, folder: string): string {
  const common = (text: string): string =>
    text
      .replace(/\n*(?:Stack backtrace:\n(?: .*\n)*)/g, '\n')
      .replace(new RegExp(`${folder}(?![a-z])`, 'g'), 'DIR')
      // What options are for, each says in its own words; that they are the same ones is checked where usage texts are.
      .replace(/^(Usage:.*?)(?: \[OPTIONS\])?$[^]*/m, '$1\n')
      // Where in a value the mistake is, each says in its own words, too.
      .replace(/(unable to parse calendar event at '.*'|'group-filter':) .*/g, '$1')
      .replace(/\b(?:proxmox-backup-manager|farshore)\b/g, 'MANAGER')
      .replace(/UPID:[^\s│"']+/g, (upid) => `UPID ${upid.split(':').slice(6).join(':')}`)
      .replace(/\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} [ \d]\d [\d:]{8} \d{4}\b/g, 'TIME')
      .replace(/\b(\w+time|next-run)("?:|") *\d{10}/g, '$1$2TIME')
      .replace(/\b20\d\d-\d\d-\d\dT[\d:]+(?:Z|\+00:00)/g, (time) => (time < '2026-01' ? time : 'TIME'))
      .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
      .replace(/"digest": ?"[0-9a-f]{64}"/g, '"digest":DIGEST')
      .replace(/"p(?:id|start)":\d+/g, '"process":ID')
      .replace(/verified [\d./]+ MiB in [\d.]+ seconds, speed [\d./]+ MiB\/s/g, 'verified')
      .replace(/[\d.]+ (?:MiB|GiB|KiB|B)\/s|\b[\d.]+ seconds|<?\b\d+(?:\.\d+)?s\b|"duration": ?\d+/g, 'SPEED')
      // Columns are as wide as what stands in them.
      .replace(/[─═]+/g, '─')
      .replace(/ +/g, ' ')
      .replace(ownLines, '');
  return `exit ${status}\n${common(stdout.startsWith('[') ? inOneOrder(stdout) : stdout)}\n${common(`${stderr}\n`).trim()}`;
}

/** A list of objects without the order that it happens to have. */
function inOneOrder(json: string): string {
  return (JSON.parse(json) as object[])
    .map((item) => `${JSON.stringify(item)}\n`)
    .toSorted()
    .join('');
}

test('both managers say the same of the same commands', async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  const sides = [
    { run: (argv: string[]) => farshore.tryManager(argv), folder: join(peer.dataFolder, 'ours'), seen: join(peer.dataFolder, 'ours') },
    { run: (argv: string[]) => peer.tryManager(argv), folder: peer.dataFolder, seen: '/data' },
  ];
  const both = async (line: string): Promise<[string, string]> => {
    const [ours, theirs] = await Promise.all(
      sides.map(async ({ run, seen }) => comparable(await run(words(line).map((word) => word.replace(/^DIR/, seen))), seen)),
    );
    return [ours!, theirs!];
  };
  mkdirSync(sides[0]!.folder);
  {
    const [ours, theirs] = await both('datastore create main DIR/main');
    assert.equal(ours, theirs);
  }
  for (const { folder } of sides) writeGoldenFiles(join(folder, 'main'), ['.gc-status']);

  const differences: string[] = [];
  for (const line of script.trim().split('\n')) {
    for (const format of withFormat.test(line) ? ['', ' --output-format json'] : ['']) {
      const [ours, theirs] = await both(`${line}${format}`);
      if (ours !== theirs) differences.push(`$ ${line}${format}\nours: ${ours}\nreference: ${theirs}`);
    }
  }
  assert.equal(differences.length, 0, `${differences.length} differences\n${differences.join('\n\n')}`);
});
