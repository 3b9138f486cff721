import { FarshoreError, HttpError } from '../base/errors.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { diagnose, missingPrivilege, probe, splitToken } from './diagnosis.ts';
import type { Diagnosis, ProbeOptions, ProbeResult } from './diagnosis.ts';
import { ReaderClient } from './reader-client.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import { RestClient } from './rest-client.ts';
import { measureSpeed } from './speed-test.ts';

/** What the remote is to be used for; without `store` only the connection and what is visible are looked at. */
export interface RemoteUse {
  store?: string | undefined;
  /** `''` = root. */
  ns?: string | undefined;
  direction?: 'pull' | 'push' | undefined;
  removeVanished?: boolean | undefined;
}

export interface RemoteTestOptions extends ProbeOptions {
  /** Length of the rate measurement, default 2 s; 0 = none. */
  measureMs?: number | undefined;
}

export interface RemoteDiagnosis extends ProbeResult {
  /** What will not stop the work but should be known. */
  warnings: Diagnosis[];
  /** Shortest of three small requests on an open connection. */
  latencyMs: number | undefined;
  /** Of one connection. */
  bytesPerSecond: number | undefined;
  /** Why there is no rate, e.g. since there is no snapshot to read. */
  notMeasured: string | undefined;
  /** Datastores that the account can see. */
  stores: string[] | undefined;
  /** Namespaces of the store that the account can see; `''` = root. */
  namespaces: string[] | undefined;
  /** Groups that the account can see in the namespace itself. */
  groupCount: number | undefined;
}

/** Namespaces and tokens as used here came with 2.2. */
const oldestVersion = [2, 2];
/** `Date` is exact to a second; beyond this, times of snapshots become misleading: worth a warning. */
const toleratedClockOffsetMs = 30_000;
/** Beyond this nothing that compares a time of one side with one of the other can be trusted: expiries, ages of copies, keep rules. */
const maxClockOffsetMs = 300_000;
const expiryNoticeSeconds = 14 * 86_400;
/** Where a snapshot is looked for that the rate can be measured over. */
const maxMeasureStores = 4;
const maxMeasureNamespaces = 8;

/**
 * All of `remote test`: one problem with the commands that mend it, or what the remote and the line can do.
 * Throws only AbortedError; everything else is a diagnosis.
 */
export async function diagnoseRemote(endpoint: RemoteEndpoint, use: RemoteUse = {}, options: RemoteTestOptions = {}): Promise<RemoteDiagnosis> {
  const result: RemoteDiagnosis = {
    ...(await probe(endpoint, options)),
    warnings: [],
    latencyMs: undefined,
    bytesPerSecond: undefined,
    notMeasured: undefined,
    stores: undefined,
    namespaces: undefined,
    groupCount: undefined,
  };
  if (result.problem !== undefined) return judgeClock(result);
  const { signal, limiter, trusted } = options;
  const rest = new RestClient(endpoint, { signal, limiter, trusted });
  try {
    result.problem = versionDiagnosis(result.version) ?? (await new RemoteExamination(endpoint, use, options, rest, result).run());
  } catch (e) {
    const found = diagnose(e, endpoint, options);
    if (found.cause === 'aborted') throw e;
    result.problem = found;
  } finally {
    rest.close();
  }
  return judgeClock(result);
}

/** Clocks far apart are the cause when nothing else is; otherwise, and when they are little apart, something to know. */
function judgeClock(result: RemoteDiagnosis): RemoteDiagnosis {
  const clock = clockDiagnosis(result.clockOffsetMs);
  if (clock === undefined) return result;
  if (result.problem === undefined && Math.abs(result.clockOffsetMs ?? 0) > maxClockOffsetMs) result.problem = clock;
  else result.warnings.push(clock);
  return result;
}

class RemoteExamination {
  readonly #endpoint: RemoteEndpoint;
  readonly #use: RemoteUse;
  readonly #options: RemoteTestOptions;
  readonly #rest: RestClient;
  readonly #result: RemoteDiagnosis;

  constructor(endpoint: RemoteEndpoint, use: RemoteUse, options: RemoteTestOptions, rest: RestClient, result: RemoteDiagnosis) {
    this.#endpoint = endpoint;
    this.#use = use;
    this.#options = options;
    this.#rest = rest;
    this.#result = result;
  }

  async run(): Promise<Diagnosis | undefined> {
    await this.#measureLatency();
    await this.#noticeExpiry(this.#options.clock ?? systemClock);
    const result = this.#result;
    result.stores = records((await this.#rest.get('admin/datastore')).data).map((one) => String(one['store']));
    const { store } = this.#use;
    if (store === undefined) {
      if (result.stores.length === 0) return missingPrivilege(this.#endpoint, '/datastore', ['Datastore.Audit']);
      await this.#measureAnywhere(result.stores);
      return undefined;
    }
    return (
      (await this.#storeProblem(store)) ??
      (await this.#privilegeProblem(store)) ??
      (await this.#namespaceProblem(store)) ??
      (await this.#readProblem(store))
    );
  }

  /** The request for namespaces is the one that tells a missing datastore from a missing privilege (403). */
  async #storeProblem(store: string): Promise<Diagnosis | undefined> {
    try {
      const { data } = await this.#rest.get(`admin/datastore/${encodeURIComponent(store)}/namespace`);
      this.#result.namespaces = records(data).map((one) => String(one['ns']));
    } catch (e) {
      if (!(e instanceof HttpError)) throw e;
      if (e.status === 403) return undefined;
      const problem = diagnose(e, this.#endpoint, this.#options);
      const seen = this.#result.stores ?? [];
      if (problem.cause === 'no-such-datastore' && seen.length > 0) problem.detail += `; '${this.#endpoint.authId}' can see ${seen.join(', ')}`;
      return problem;
    }
    return undefined;
  }

  async #privilegeProblem(store: string): Promise<Diagnosis | undefined> {
    const path = aclPath(store, this.#use.ns ?? '');
    const here = await this.#privileges(path);
    const missing = this.#missing(here);
    const all = objectOf((await this.#rest.get('access/permissions')).data);
    const below = Object.keys(all).filter((one) => one.startsWith(`${path}/`)).sort();
    if (missing.length > 0) {
      const problem = missingPrivilege(this.#endpoint, path, missing, this.#role());
      const enough = below.filter((one) => this.#missing(new Set(Object.keys(objectOf(all[one])))).length === 0);
      if (enough.length > 0) problem.detail += `; it has what is needed on ${enough.join(', ')}`;
      return problem;
    }
    for (const one of below) {
      const lost = this.#missing(new Set(Object.keys(objectOf(all[one]))));
      if (lost.length > 0) this.#result.warnings.push(missingPrivilege(this.#endpoint, one, lost, this.#role()));
    }
    if (this.#use.direction !== 'push' && !(here.has('Datastore.Read') && here.has('Datastore.Audit'))) {
      this.#result.warnings.push({
        ...missingPrivilege(this.#endpoint, path, ['Datastore.Read', 'Datastore.Audit'].filter((one) => !here.has(one)), this.#role()),
        detail: `'${this.#endpoint.authId}' has only Datastore.Backup on ${path} and so sees and reads nothing but groups that it owns`,
      });
    }
    return undefined;
  }

  /** The account's effective privileges on a path; the remote computes them also for what does not exist. */
  async #privileges(path: string): Promise<Set<string>> {
    const { data } = await this.#rest.get('access/permissions', { path });
    return new Set(Object.keys(objectOf(objectOf(data)[path])));
  }

  /** Empty when `have` is enough for the use (spec sync 2.4, backup-protocol 7.1). */
  #missing(have: ReadonlySet<string>): string[] {
    if (this.#use.direction === 'push') {
      return ['Datastore.Backup', ...(this.#use.removeVanished === true ? ['Datastore.Prune'] : [])].filter((one) => !have.has(one));
    }
    return have.has('Datastore.Backup') ? [] : ['Datastore.Audit', 'Datastore.Read'].filter((one) => !have.has(one));
  }

  #role(): string {
    if (this.#use.direction !== 'push') return 'DatastoreReader';
    return this.#use.removeVanished === true ? 'DatastorePowerUser' : 'DatastoreBackup';
  }

  async #namespaceProblem(store: string): Promise<Diagnosis | undefined> {
    const ns = this.#use.ns ?? '';
    try {
      const { data } = await this.#rest.get(`admin/datastore/${encodeURIComponent(store)}/groups`, { ns: ns === '' ? undefined : ns });
      this.#result.groupCount = records(data).length;
      return undefined;
    } catch (e) {
      if (!(e instanceof HttpError) || e.status !== 400 || ns === '' || !/ENOENT|not found|does not exist|no such namespace/i.test(e.message)) throw e;
      const seen = (this.#result.namespaces ?? []).filter((one) => one !== '');
      return {
        cause: 'namespace',
        detail: `datastore '${store}' has no namespace '${ns}'; '${this.#endpoint.authId}' can see ${seen.length === 0 ? 'none' : seen.join(', ')}`,
        hint: `choose one of them, or make it: \`proxmox-backup-client namespace create ${ns} --repository ${this.#endpoint.authId}@${this.#endpoint.host}:${store}\``,
      };
    }
  }

  /** Nobody said which datastore is meant: the first one with something to read will do for the rate. */
  async #measureAnywhere(stores: readonly string[]): Promise<void> {
    for (const store of stores.slice(0, maxMeasureStores)) {
      try {
        const { data } = await this.#rest.get(`admin/datastore/${encodeURIComponent(store)}/namespace`);
        this.#result.namespaces = records(data).map((one) => String(one['ns']));
        await this.#readProblem(store);
      } catch (e) {
        if (!(e instanceof HttpError)) throw e;
        this.#result.notMeasured = `datastore '${store}' cannot be read: ${e.message}`;
      }
      this.#result.namespaces = undefined;
      if (this.#result.bytesPerSecond !== undefined) return;
    }
  }

  /** Opens a reader on the newest snapshot, which no listing can promise, and measures the rate over it. */
  async #readProblem(store: string): Promise<Diagnosis | undefined> {
    const { signal, limiter, trusted, measureMs = 2000 } = this.#options;
    if (this.#use.direction === 'push') return undefined;
    const found = await this.#newestSnapshot(store);
    if (found === undefined) {
      this.#result.notMeasured = `there is no snapshot in datastore '${store}' to read`;
      return undefined;
    }
    const reader = await ReaderClient.open(this.#endpoint, { store, ...found, signal, limiter, trusted, authHeaders: async () => this.#rest.authHeaders() });
    try {
      if (measureMs > 0) {
        this.#result.bytesPerSecond = (await measureSpeed(reader, { durationMs: measureMs })).bytesPerSecond;
        this.#result.notMeasured = undefined;
      }
    } finally {
      reader.close();
    }
    return undefined;
  }

  /** In the namespace itself, or else below it. */
  async #newestSnapshot(store: string): Promise<{ ns: string; backupType: string; backupId: string; backupTime: number } | undefined> {
    const anchor = this.#use.ns ?? '';
    const below = (this.#result.namespaces ?? []).filter((one) => one !== anchor && (anchor === '' || one.startsWith(`${anchor}/`)));
    for (const ns of [anchor, ...below.slice(0, maxMeasureNamespaces)]) {
      const { data } = await this.#rest.get(`admin/datastore/${encodeURIComponent(store)}/groups`, { ns: ns === '' ? undefined : ns });
      const newest = records(data)
        .filter((one) => Number(one['last-backup']) > 0)
        .sort((a, b) => Number(b['last-backup']) - Number(a['last-backup']))[0];
      if (newest !== undefined) return { ns, backupType: String(newest['backup-type']), backupId: String(newest['backup-id']), backupTime: Number(newest['last-backup']) };
    }
    return undefined;
  }

  async #measureLatency(): Promise<void> {
    await this.#rest.get('version');
    let bestMs = Infinity;
    for (let i = 0; i < 3; i += 1) {
      const startMs = performance.now();
      await this.#rest.get('version');
      bestMs = Math.min(bestMs, performance.now() - startMs);
    }
    this.#result.latencyMs = bestMs;
  }

  /** A token may see when its user expires, not when it does itself. */
  async #noticeExpiry(clock: Clock): Promise<void> {
    const user = this.#endpoint.isToken ? splitToken(this.#endpoint.authId).user : this.#endpoint.authId;
    const users = await this.#rest.get('access/users').then(
      (reply) => records(reply.data),
      (e: unknown) => {
        if (e instanceof HttpError) return [];
        throw e;
      },
    );
    const expire = Number(users.find((one) => one['userid'] === user)?.['expire'] ?? 0);
    const left = expire - clock.now() / 1000;
    if (expire > 0 && left < expiryNoticeSeconds) {
      this.#result.warnings.push({
        cause: 'expiry',
        detail: `user '${user}' expires at ${new Date(expire * 1000).toISOString()}, and its tokens with it`,
        hint: `on the remote: \`proxmox-backup-manager user update ${user} --expire 0\``,
      });
    }
  }
}

function aclPath(store: string, ns: string): string {
  return ns === '' ? `/datastore/${store}` : `/datastore/${store}/${ns}`;
}

function clockDiagnosis(offsetMs: number | undefined): Diagnosis | undefined {
  if (offsetMs === undefined || Math.abs(offsetMs) <= toleratedClockOffsetMs) return undefined;
  return {
    cause: 'clock',
    detail: `the clock of the remote is ${Math.round(Math.abs(offsetMs) / 1000)} s ${offsetMs > 0 ? 'ahead of' : 'behind'} ours`,
    hint: 'let both keep time: `timedatectl status` here and on the remote',
  };
}

function versionDiagnosis(version: string | undefined): Diagnosis | undefined {
  const parts = /^(\d+)\.(\d+)/.exec(version ?? '');
  if (parts === null) return undefined;
  const [major, minor] = [Number(parts[1]), Number(parts[2])];
  if (major > oldestVersion[0]! || (major === oldestVersion[0]! && minor >= oldestVersion[1]!)) return undefined;
  return { cause: 'version', detail: `the remote is version ${version}, older than ${oldestVersion.join('.')}`, hint: 'upgrade the remote: `apt update && apt full-upgrade`' };
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function records(value: unknown): Array<Record<string, unknown>> {
  if (!Array.isArray(value)) throw new FarshoreError('net.protocol', 'the remote answered with something that is not a list');
  return value.map(objectOf);
}
