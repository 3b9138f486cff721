import type { TObject, Static } from 'typebox';
import { HttpError } from '../base/errors.ts';
import {
  builtinMatcher,
  builtinTarget,
  endpointKinds,
  endpointTypes,
  gotifySecretType,
  matcherType,
  smtpSecretType,
  webhookSecretType,
  type EndpointKind,
  type MatcherRecord,
  type NotificationFiles,
} from '../config/notification-config.ts';
import { changedRecord, type RecordChanges } from '../config/section-table.ts';
import type { SectionConfig, SectionType } from '../config/section-config.ts';
import { parsePropertyString } from '../format/property-string.ts';
import { matcherRule } from './matching.ts';

export type Origin = 'builtin' | 'modified-builtin' | 'user-created';

/** What an entity keeps secret: `token` (gotify), `password` (smtp), `secret` (webhook: property strings with values). */
export interface EntitySecrets {
  token?: string | undefined;
  password?: string | undefined;
  secret?: readonly string[] | undefined;
}

export interface TargetView {
  name: string;
  type: EndpointKind;
  origin: Origin;
  comment?: string;
  disable?: boolean;
}

interface AnyRecord {
  name: string;
  comment?: string;
  disable?: boolean;
  mailto?: string[];
  'mailto-user'?: string[];
  header?: string[];
}

type Kind = EndpointKind | 'matcher';

const types: Readonly<Record<Kind, SectionType>> = { ...endpointTypes, matcher: matcherType };
const secretTypes: Readonly<Partial<Record<Kind, SectionType>>> = { gotify: gotifySecretType, smtp: smtpSecretType, webhook: webhookSecretType };
const builtins: ReadonlyMap<string, { kind: Kind; record: unknown }> = new Map<string, { kind: Kind; record: unknown }>([
  [builtinMatcher.name, { kind: 'matcher', record: builtinMatcher }],
  [builtinTarget.name, { kind: 'sendmail', record: builtinTarget }],
]);

/** `name=…[,value=…]` taken apart. */
export function namedValueOf(text: string): { name: string; value: string | undefined } {
  const pairs = new Map(parsePropertyString(text));
  return { name: pairs.get('name') ?? '', value: pairs.get('value') };
}

/** Strict: what is no base64 is no value. */
export function decodeBase64(text: string): string | null {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) ? Buffer.from(text, 'base64').toString('utf8') : null;
}

function missing(kind: Kind, name: string): HttpError {
  return new HttpError(404, kind === 'matcher' ? `matcher '${name}' not found` : `endpoint '${name}' not found`);
}

/** Targets and matchers with their rules, in the reference's words (spec server 14.1). Secrets go in and come out only by `secretsOf`, for who delivers. */
export class NotificationEntities {
  readonly #files: NotificationFiles;

  constructor(files: NotificationFiles) {
    this.#files = files;
  }

  /** Entities of one kind in file order, with their origin; webhooks with the names of their secrets. */
  list(kind: Kind): Array<Record<string, unknown>> {
    const { value } = this.#files.config.load();
    return (value.list(types[kind]) as unknown as AnyRecord[]).map((record) => this.#view(kind, record));
  }

  /** HttpError 404. */
  get(kind: Kind, name: string): { record: Record<string, unknown>; digest: string } {
    const { value, digest } = this.#files.config.load();
    const record = value.find(types[kind], name) as AnyRecord | undefined;
    if (record === undefined) throw missing(kind, name);
    return { record: this.#view(kind, record), digest };
  }

  /** The stored record of a target of whatever kind; undefined when there is none. */
  target(name: string): { kind: EndpointKind; record: unknown } | undefined {
    const { value } = this.#files.config.load();
    for (const kind of endpointKinds) {
      const record = value.find(types[kind], name);
      if (record !== undefined) return { kind, record };
    }
    return undefined;
  }

  matchers(): MatcherRecord[] {
    return this.#files.config.load().value.list(matcherType);
  }

  targets(): TargetView[] {
    return endpointKinds.flatMap((type) =>
      this.list(type).map(({ name, comment, disable, origin }) => ({
        ...(comment === undefined ? {} : { comment: comment as string }),
        ...(disable === undefined ? {} : { disable: disable as boolean }),
        name: name as string,
        origin: origin as Origin,
        type,
      })),
    );
  }

  /** Secrets of a target, as stored. */
  secretsOf(kind: EndpointKind, name: string): EntitySecrets {
    const type = secretTypes[kind];
    return type === undefined ? {} : (this.#files.secrets.load().value.find(type, name) ?? {});
  }

  /** HttpError 400 when the name is taken or a value is not acceptable, 404 for a matcher with an unknown target. */
  async create<S extends TObject>(kind: Kind, record: Static<S>, secrets: EntitySecrets = {}): Promise<void> {
    await this.#files.config.withLock(async () => {
      await this.#files.config.updateLocked(async (config) => {
        const { name } = record as AnyRecord;
        if (config.has(name)) throw new HttpError(400, `Cannot create '${name}', an entity with the same name already exists`);
        check(kind, config, record as AnyRecord);
        config.set(types[kind], record);
        // Before the entity: a target is never without its secret.
        await this.#storeSecrets(kind, name, () => ({ ...secrets }));
      });
    });
  }

  /** Secrets that are undefined stay; those that `delete` names go. */
  async update<T extends object>(kind: Kind, name: string, changes: RecordChanges<T>, options: { digest?: string | undefined; secrets?: EntitySecrets } = {}): Promise<void> {
    await this.#files.config.withLock(async () => {
      await this.#files.config.updateLocked(async (config) => {
        const record = config.find(types[kind], name) as AnyRecord | undefined;
        if (record === undefined) throw missing(kind, name);
        const changed = changedRecord(record, changes as RecordChanges<AnyRecord>, { keepComment: true });
        check(kind, config, changed);
        config.set(types[kind], { ...changed });
        await this.#storeSecrets(kind, name, (before) => changedSecrets(before, options.secrets ?? {}, changes.delete ?? []));
      }, options);
    });
  }

  /** HttpError 404, or 400 while a matcher names the target. A built-in entity comes back as it was made. */
  async remove(kind: Kind, name: string): Promise<void> {
    await this.#files.config.withLock(async () => {
      await this.#files.config.updateLocked((config) => {
        if (config.find(types[kind], name) === undefined) throw missing(kind, name);
        const by = kind === 'matcher' || builtins.has(name) ? [] : config.list(matcherType).filter((matcher) => matcher.target?.includes(name) === true);
        if (by.length > 0) throw new HttpError(400, `cannot delete '${name}', referenced by: ${by.map((matcher) => matcher.name).join(', ')}`);
        config.remove(types[kind], name);
      });
      const type = secretTypes[kind];
      if (type !== undefined) await this.#files.secrets.updateLocked((config) => config.remove(type, name));
    });
  }

  async #storeSecrets(kind: Kind, name: string, change: (before: EntitySecrets) => EntitySecrets): Promise<void> {
    const type = secretTypes[kind];
    if (type === undefined) return;
    await this.#files.secrets.updateLocked((config) => {
      const secrets = change(config.find(type, name) ?? {});
      config.set(type, { ...secrets, name });
    });
  }

  #view(kind: Kind, record: AnyRecord): Record<string, unknown> {
    const secret = kind === 'webhook' ? (this.secretsOf(kind, record.name).secret ?? []).map((text) => `name=${namedValueOf(text).name}`) : [];
    return { ...record, ...(secret.length === 0 ? {} : { secret }), origin: originOf(kind, record) };
  }
}

function originOf(kind: Kind, record: AnyRecord): Origin {
  const builtin = builtins.get(record.name);
  if (builtin === undefined || builtin.kind !== kind) return 'user-created';
  const text = (value: unknown): string => JSON.stringify(Object.entries(value as object).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(record) === text(builtin.record) ? 'builtin' : 'modified-builtin';
}

function check(kind: Kind, config: SectionConfig, record: AnyRecord): void {
  if (kind === 'matcher') {
    const matcher = record as unknown as MatcherRecord;
    matcherRule(matcher);
    for (const target of matcher.target ?? []) {
      if (!endpointKinds.some((one) => config.find(types[one], target) !== undefined)) throw new HttpError(404, `endpoint '${target}' does not exist`);
    }
  }
  const isMail = kind === 'sendmail' || kind === 'smtp';
  if (isMail && (record.mailto ?? []).length + (record['mailto-user'] ?? []).length === 0) throw new HttpError(400, 'must at least provide one recipient, either in mailto or in mailto-user');
  for (const header of record.header ?? []) {
    const { name, value = '' } = namedValueOf(header);
    if (decodeBase64(value) === null) throw new HttpError(400, `header '${name}' does not have valid base64 encoded data`);
  }
}

/** A given list of webhook secrets replaces the stored one; one without value keeps the value that is stored. */
function changedSecrets(before: EntitySecrets, given: EntitySecrets, remove: readonly string[]): EntitySecrets {
  const kept = Object.fromEntries(Object.entries(before).filter(([name]) => !remove.includes(name))) as EntitySecrets;
  const stored = new Map((kept.secret ?? []).map((text) => [namedValueOf(text).name, text]));
  const secret = given.secret?.map((text) => {
    const { name, value } = namedValueOf(text);
    if (value !== undefined) return text;
    const known = stored.get(name);
    if (known === undefined) throw new HttpError(400, `secret '${name}' not known`);
    return known;
  });
  return {
    ...kept,
    ...(given.token === undefined ? {} : { token: given.token }),
    ...(given.password === undefined ? {} : { password: given.password }),
    ...(secret === undefined ? {} : { secret }),
  };
}
