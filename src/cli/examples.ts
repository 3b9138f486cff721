/** Examples of `--help` and of the manual pages, by the command's words: what is typed after the program's name. */

export const managerExamples: Readonly<Record<string, readonly string[]>> = {
  server: ['server', 'server --listen 127.0.0.1:8007 --log-format json'],
  import: ['import /etc/proxmox-backup --dry-run', 'import /mnt/old-server/etc/proxmox-backup'],
  completion: ['completion bash', 'completion zsh'],
  help: ['help sync-job create', 'help sync-job --verbose'],
  'acl update': ['acl update /datastore/offsite DatastoreAdmin --auth-id admin@pbs', "acl update /datastore/main DatastoreReader --auth-id 'sync@pbs!offsite'"],
  'datastore create': ['datastore create offsite /srv/offsite', 'datastore create offsite /srv/copied --reuse-datastore true'],
  'datastore remove': ['datastore remove offsite --destroy-data true --dry-run'],
  'datastore update': ['datastore update offsite --gc-schedule daily', 'datastore update offsite --maintenance-mode type=read-only', 'datastore update offsite --delete maintenance-mode'],
  'garbage-collection start': ['garbage-collection start offsite'],
  'prune-job create': ["prune-job create offsite-prune --store offsite --schedule daily --keep-daily 14 --keep-weekly 8"],
  'prune-job run': ['prune-job run offsite-prune'],
  pull: ['pull pbs-hq main offsite', 'pull pbs-hq main offsite --group-filter type:vm --rate-in 20MiB'],
  push: ['push main pbs-remote offsite'],
  'remote create': ["remote create pbs-hq --host hq.example.org --auth-id 'sync@pbs!offsite' --password SECRET --fingerprint 64:d3:ff:3a:50:38:53:5a:9b:f7:50:31:30:f9:dc:d2:64:d3:ff:3a:50:38:53:5a:9b:f7:50:31:30:f9:dc:d2"],
  'remote test': ['remote test pbs-hq'],
  'sync-job create': ["sync-job create offsite-nightly --remote pbs-hq --remote-store main --store offsite --schedule 02:30", "sync-job create vms --remote pbs-hq --remote-store main --store offsite --group-filter type:vm --transfer-last 3"],
  'sync-job plan': ['sync-job plan offsite-nightly'],
  'sync-job run': ['sync-job run offsite-nightly'],
  'sync-job update': ['sync-job update offsite-nightly --rate-in 20MiB', 'sync-job update offsite-nightly --delete schedule'],
  'task list': ['task list', 'task list --all --limit 20 --output-format json-pretty'],
  'traffic-control create': ["traffic-control create office --network 192.0.2.0/24 --rate-in 10MiB --timeframe 'mon..fri 8-18'"],
  'user create': ['user create sync@pbs --password SECRET-1234 --comment Offsite'],
  'user generate-token': ['user generate-token sync@pbs offsite'],
  verify: ['verify offsite'],
  'verify-job create': ['verify-job create weekly --store offsite --schedule sat --outdated-after 30'],
};

export const pxarExamples: Readonly<Record<string, readonly string[]>> = {
  create: ['create home.pxar /home', "create home.pxar /home --exclude '*.tmp'"],
  extract: ['extract home.pxar /tmp/restored'],
  list: ['list home.pxar'],
};
