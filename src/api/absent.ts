import { createHash } from 'node:crypto';
import { Type, type TProperties } from 'typebox';
import { HttpError } from '../base/errors.ts';
import { Reply, jsonEndpoint, type Endpoint, type Method, type Permission } from './endpoint.ts';

/**
 * Methods of the reference that make sense on its own dedicated Debian host only, or come with a later version. They answer as an
 * installation does that has no tape drive, no spare disk, no subscription: lists are empty, entries do not exist, changes are refused with
 * 400 and the reason. Never 404: peers and clients take that for an older server (spec rest-api 13.22). Permissions are the reference's.
 * Parameters other than those of the path are not looked at.
 */

/** Why, for the message and for docs/compatibility.md. */
export const absentAreas = {
  tape: 'tape drives, changers and media',
  disks: 'disks, ZFS and removable datastores: the host belongs to its administrator',
  network: 'network set-up: it belongs to the host',
  packages: 'packages of the operating system',
  subscription: 'subscriptions',
  host: 'services, power, clock, journal and shell of the host',
  acme: 'certificates by ACME: install one that another program renews',
  s3: 'S3 endpoints: reserved for a later version',
  realms: 'realms other than pbs: logins with LDAP, AD and OpenID',
} as const;

export type AbsentArea = keyof typeof absentAreas;

/**
 * One method a line, fields apart by two spaces: method and path, permission, answer. Permission: `any`, `public`, `root`, or `A&B@/path`,
 * several of these joined by `+`. Answer: a name of `answers`, or the text of a refusal with `{x}` from the path, after its status where that is not 400; none:
 * refused for the area.
 */
const methods: Record<AbsentArea, string> = {
  tape: `
GET /config/changer  any  config
POST /config/changer  Tape.Modify@/tape/device
DELETE /config/changer/{name}  Tape.Modify@/tape/device/{name}  no such changer '{name}'
GET /config/changer/{name}  Tape.Audit@/tape/device/{name}  no such changer '{name}'
PUT /config/changer/{name}  Tape.Modify@/tape/device/{name}  no such changer '{name}'
GET /config/drive  any  config
POST /config/drive  Tape.Modify@/tape/device
DELETE /config/drive/{name}  Tape.Modify@/tape/device/{name}  no such lto '{name}'
GET /config/drive/{name}  Tape.Audit@/tape/device/{name}  no such lto '{name}'
PUT /config/drive/{name}  Tape.Modify@/tape/device/{name}  no such lto '{name}'
GET /config/media-pool  any  config
POST /config/media-pool  Tape.Modify@/tape/pool
DELETE /config/media-pool/{name}  Tape.Modify@/tape/pool/{name}  no such pool '{name}'
GET /config/media-pool/{name}  Tape.Audit@/tape/pool/{name}  no such pool '{name}'
PUT /config/media-pool/{name}  Tape.Modify@/tape/pool/{name}  no such pool '{name}'
GET /config/tape-backup-job  any  config
POST /config/tape-backup-job  Tape.Modify@/tape/job
DELETE /config/tape-backup-job/{id}  Tape.Modify@/tape/job/{id}  no such backup '{id}'
GET /config/tape-backup-job/{id}  Tape.Audit@/tape/job/{id}  no such backup '{id}'
PUT /config/tape-backup-job/{id}  Tape.Modify@/tape/job/{id}  no such backup '{id}'
GET /config/tape-encryption-keys  Tape.Audit@/tape/pool  config
POST /config/tape-encryption-keys  Tape.Modify@/tape/pool
DELETE /config/tape-encryption-keys/{fingerprint}  Tape.Modify@/tape/pool  404 tape encryption key '{fingerprint}' does not exist.
GET /config/tape-encryption-keys/{fingerprint}  Tape.Audit@/tape/pool  404 tape encryption key '{fingerprint}' does not exist.
PUT /config/tape-encryption-keys/{fingerprint}  Tape.Modify@/tape/pool  404 tape encryption key '{fingerprint}' does not exist.
GET /tape/backup  any  config
POST /tape/backup  any
POST /tape/backup/{id}  any  no such backup '{id}'
GET /tape/changer  any  list
GET /tape/changer/{name}/status  Tape.Audit@/tape/device/{name}  no such changer '{name}'
POST /tape/changer/{name}/transfer  Tape.Read@/tape/device/{name}  no such changer '{name}'
GET /tape/drive  any  list
POST /tape/drive/{drive}/barcode-label-media  Tape.Write@/tape/device/{drive}  no such drive '{drive}'
GET /tape/drive/{drive}/cartridge-memory  Tape.Audit@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/catalog  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
PUT /tape/drive/{drive}/clean  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/eject-media  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
PUT /tape/drive/{drive}/export-media  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/format-media  Tape.Write@/tape/device/{drive}  no such drive '{drive}'
GET /tape/drive/{drive}/inventory  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
PUT /tape/drive/{drive}/inventory  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/label-media  Tape.Write@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/load-media  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/load-slot  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
GET /tape/drive/{drive}/read-label  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/restore-key  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/rewind  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
GET /tape/drive/{drive}/status  Tape.Audit@/tape/device/{drive}  no such drive '{drive}'
POST /tape/drive/{drive}/unload  Tape.Read@/tape/device/{drive}  no such drive '{drive}'
GET /tape/drive/{drive}/volume-statistics  Tape.Audit@/tape/device/{drive}  no such drive '{drive}'
GET /tape/media/content  any  list
GET /tape/media/destroy  Tape.Write@/tape
GET /tape/media/list  any  list
GET /tape/media/list/{uuid}/status  root
POST /tape/media/list/{uuid}/status  Tape.Modify@/tape
GET /tape/media/media-sets  any  list
POST /tape/media/move  Tape.Modify@/tape
POST /tape/restore  any
GET /tape/scan-changers  root  list
GET /tape/scan-drives  root  list
`,
  disks: `
POST /admin/datastore/{store}/mount  Datastore.Modify@/datastore/{store}+Sys.Modify@/system/disks  datastore '{store}' is not removable
POST /admin/datastore/{store}/unmount  Datastore.Modify@/datastore/{store}+Sys.Modify@/system/disks  datastore '{store}' is not removable
GET /nodes/{node}/disks/directory  Sys.Audit@/system/disks  list
POST /nodes/{node}/disks/directory  Sys.Modify@/system/disks
DELETE /nodes/{node}/disks/directory/{name}  Sys.Modify@/system/disks
POST /nodes/{node}/disks/initgpt  Sys.Modify@/system/disks
GET /nodes/{node}/disks/list  Sys.Audit@/system/disks  list
GET /nodes/{node}/disks/smart  Sys.Audit@/system/disks
PUT /nodes/{node}/disks/wipedisk  Sys.Modify@/system/disks
GET /nodes/{node}/disks/zfs  Sys.Audit@/system/disks  list
POST /nodes/{node}/disks/zfs  Sys.Modify@/system/disks
GET /nodes/{node}/disks/zfs/{name}  Sys.Audit@/system/disks
`,
  network: `
PUT /nodes/{node}/dns  Sys.Modify@/system/network/dns
DELETE /nodes/{node}/network  Sys.Modify@/system/network/interfaces
GET /nodes/{node}/network  Sys.Audit@/system/network/interfaces  list
POST /nodes/{node}/network  Sys.Modify@/system/network/interfaces
PUT /nodes/{node}/network  Sys.Modify@/system/network/interfaces
DELETE /nodes/{node}/network/{iface}  Sys.Modify@/system/network/interfaces/{iface}  interface '{iface}' does not exist.
GET /nodes/{node}/network/{iface}  Sys.Audit@/system/network/interfaces/{iface}  interface '{iface}' does not exist.
PUT /nodes/{node}/network/{iface}  Sys.Modify@/system/network/interfaces/{iface}  interface '{iface}' does not exist.
`,
  packages: `
GET /nodes/{node}/apt/changelog  Sys.Modify@/
GET /nodes/{node}/apt/repositories  Sys.Audit@/  repositories
POST /nodes/{node}/apt/repositories  Sys.Modify@/
PUT /nodes/{node}/apt/repositories  Sys.Modify@/
GET /nodes/{node}/apt/update  Sys.Audit@/  list
POST /nodes/{node}/apt/update  Sys.Modify@/
`,
  subscription: `
DELETE /nodes/{node}/subscription  Sys.Modify@/system
POST /nodes/{node}/subscription  Sys.Modify@/system
PUT /nodes/{node}/subscription  Sys.Modify@/system
`,
  host: `
POST /access/vncticket  public  Checking VNC ticket failed
GET /nodes/{node}/journal  Sys.Audit@/system/log  list
GET /nodes/{node}/services  Sys.Audit@/system/services  list
POST /nodes/{node}/services/{service}/reload  Sys.Modify@/system/services/{service}  unknown service name '{service}'
POST /nodes/{node}/services/{service}/restart  Sys.Modify@/system/services/{service}  unknown service name '{service}'
POST /nodes/{node}/services/{service}/start  Sys.Modify@/system/services/{service}  unknown service name '{service}'
GET /nodes/{node}/services/{service}/state  Sys.Audit@/system/services/{service}  unknown service name '{service}'
POST /nodes/{node}/services/{service}/stop  Sys.Modify@/system/services/{service}  unknown service name '{service}'
POST /nodes/{node}/status  Sys.PowerManagement@/system/status
GET /nodes/{node}/syslog  Sys.Audit@/system/log  syslog
POST /nodes/{node}/termproxy  Sys.Console@/system
PUT /nodes/{node}/time  Sys.Modify@/system/time
GET /nodes/{node}/vncwebsocket  Sys.Console@/system
`,
  acme: `
GET /config/acme/account  Sys.Modify@/system/certificates  list
POST /config/acme/account  Sys.Modify@/system/certificates
DELETE /config/acme/account/{name}  Sys.Modify@/system/certificates  acme account '{name}' does not exist
GET /config/acme/account/{name}  Sys.Modify@/system/certificates  acme account '{name}' does not exist
PUT /config/acme/account/{name}  Sys.Modify@/system/certificates  acme account '{name}' does not exist
GET /config/acme/challenge-schema  any  list
GET /config/acme/directories  any  list
GET /config/acme/plugins  Sys.Modify@/system/certificates  acme-plugins
POST /config/acme/plugins  Sys.Modify@/system/certificates
DELETE /config/acme/plugins/{id}  Sys.Modify@/system/certificates  404 no such plugin
GET /config/acme/plugins/{id}  Sys.Modify@/system/certificates  404 no such plugin
PUT /config/acme/plugins/{id}  Sys.Modify@/system/certificates  404 no such plugin
GET /config/acme/tos  any  null
POST /nodes/{node}/certificates/acme/certificate  Sys.Modify@/system/certificates
PUT /nodes/{node}/certificates/acme/certificate  Sys.Modify@/system/certificates
`,
  s3: `
PUT /admin/datastore/{store}/s3-refresh  Datastore.Modify@/datastore/{store}
PUT /admin/s3/{s3-endpoint-id}/check  Sys.Modify@/  config lookup failed
PUT /admin/s3/{s3-endpoint-id}/reset-counters  Sys.Modify@/  config lookup failed
GET /config/s3  any  config
POST /config/s3  Sys.Modify@/system/s3-endpoint
DELETE /config/s3/{id}  Sys.Modify@/system/s3-endpoint/{id}  no such s3-endpoint '{id}'
GET /config/s3/{id}  Sys.Audit@/system/s3-endpoint/{id}  no such s3-endpoint '{id}'
PUT /config/s3/{id}  Sys.Modify@/system/s3-endpoint/{id}  no such s3-endpoint '{id}'
GET /config/s3/{id}/list-buckets  Sys.Audit@/  no such s3-endpoint '{id}'
`,
  realms: `
POST /access/domains/{realm}/sync  Permissions.Modify@/access/users  unable to find realm {realm}
POST /access/openid/auth-url  public
POST /access/openid/login  public
POST /config/access/ad  Realm.Allocate@/access/domains
PUT /config/access/ad/{realm}  Realm.Allocate@/access/domains
POST /config/access/ldap  Realm.Allocate@/access/domains
PUT /config/access/ldap/{realm}  Realm.Allocate@/access/domains
POST /config/access/openid  Realm.Allocate@/access/domains
PUT /config/access/openid/{realm}  Realm.Allocate@/access/domains
PUT /config/access/tfa/webauthn  root
`,
};

const digestOfNothing = createHash('sha256').digest('hex');

/** What methods for reading find: nothing. */
const answers: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  list: () => [],
  /** Of a section config file that is not there. */
  config: () => new Reply([], { digest: digestOfNothing }),
  syslog: () => new Reply([{ n: 1, t: '-- No entries --' }], { total: 1 }),
  'acme-plugins': () => new Reply([{ plugin: 'standalone', type: 'standalone' }], { digest: digestOfNothing }),
  repositories: () => ({ digest: digestOfNothing, errors: [], files: [], infos: [], 'standard-repos': [] }),
};

export interface AbsentMethod {
  area: AbsentArea;
  method: Method;
  path: string;
  endpoint: Endpoint;
}

/** All of them. */
export function absentMethods(): AbsentMethod[] {
  return (Object.keys(absentAreas) as AbsentArea[]).flatMap((area) =>
    methods[area]
      .trim()
      .split('\n')
      .map((line) => absentMethod(area, line)),
  );
}

export function absentEndpoints(): Endpoint[] {
  return absentMethods().map(({ endpoint }) => endpoint);
}

function absentMethod(area: AbsentArea, line: string): AbsentMethod {
  const [call = '', permission = '', answer = ''] = line.split('  ');
  const [method, path] = call.split(' ') as [Method, string];
  const names = [...path.matchAll(/\{([a-z0-9-]+)\}/g)].map((match) => match[1]!);
  const inPath: TProperties = Object.fromEntries(names.map((name) => [name, Type.String({ minLength: 1, maxLength: 256, description: 'Part of the path.' })]));
  const endpoint = jsonEndpoint({
    method,
    path,
    description: `Not on this server: ${absentAreas[area]}.`,
    parameters: Type.Object(inPath, { additionalProperties: true }),
    permission: permissionOf(permission),
    handler: async (given) => {
      const found = Object.hasOwn(answers, answer) ? answers[answer] : undefined;
      if (found !== undefined) return found();
      const [, status = '400', text = ''] = /^(?:(\d{3}) )?(.*)$/.exec(answer) ?? [];
      throw new HttpError(Number(status), text === '' ? `this server does not have ${absentAreas[area]}` : filled(text, given));
    },
  });
  return { area, method, path, endpoint };
}

function filled(text: string, given: Record<string, unknown>): string {
  // The reference shows the beginning of a fingerprint.
  return text.replace(/\{([a-z0-9-]+)\}/g, (_, name: string) => String(given[name]).slice(0, name === 'fingerprint' ? 23 : undefined));
}

function permissionOf(text: string): Permission {
  const parts = text.split('+');
  if (parts.length > 1) return { kind: 'and', of: parts.map(permissionOf) };
  if (text === 'any' || text === 'public' || text === 'root') return { kind: text };
  const [privileges = '', path = ''] = text.split('@');
  return { kind: 'privilege', path, privileges: privileges.split('&') };
}
