import { RE2JS } from 're2js';
import { ConfigError } from '../base/errors.ts';
import { groupText, type BackupGroup, type BackupType } from '../format/backup-path.ts';

/**
 * One group filter (spec sync 2.2): `[include:|exclude:]type:vm|ct|host`, `group:type/id` or `regex:re`. Regexes come from
 * users, so they run on a linear-time engine, unanchored.
 */
export interface GroupFilter {
  exclude: boolean;
  /** As given, without `include:`. */
  text: string;
  matches(group: BackupGroup): boolean;
}

const backupTypes: readonly string[] = ['vm', 'ct', 'host'] satisfies BackupType[];
const groupPattern = /^(vm|ct|host)\/([A-Za-z0-9_][A-Za-z0-9._-]*)$/;
const maxFilterLength = 1024;

/** Parses one filter; ConfigError `config.group-filter` says where it is wrong. */
export function parseGroupFilter(text: string): GroupFilter {
  const fail = (why: string, cause?: unknown): never => {
    throw new ConfigError('config.group-filter', `group filter '${text}': ${why}`, { cause });
  };
  if (text.length > maxFilterLength) fail(`longer than ${maxFilterLength} characters`);
  let rest = text;
  let exclude = false;
  if (rest.startsWith('exclude:')) {
    exclude = true;
    rest = rest.slice('exclude:'.length);
  } else if (rest.startsWith('include:')) {
    rest = rest.slice('include:'.length);
  }
  const colon = rest.indexOf(':');
  if (colon < 0) return fail("expected 'type:', 'group:' or 'regex:'");
  const kind = rest.slice(0, colon);
  const value = rest.slice(colon + 1);
  const normalized = exclude ? `exclude:${rest}` : rest;
  switch (kind) {
    case 'type':
      if (!backupTypes.includes(value)) fail(`type '${value}' is not vm, ct or host`);
      return { exclude, text: normalized, matches: (group) => group.type === value };
    case 'group':
      if (!groupPattern.test(value)) fail(`'${value}' is not a group like vm/100`);
      return { exclude, text: normalized, matches: (group) => groupText(group) === value };
    case 'regex': {
      let regex: RE2JS;
      try {
        regex = RE2JS.compile(value);
      } catch (e) {
        return fail('the regular expression does not parse', e);
      }
      return { exclude, text: normalized, matches: (group) => regex.matcher(groupText(group)).find() };
    }
    default:
      return fail(`unknown filter kind '${kind}', expected 'type', 'group' or 'regex'`);
  }
}

/** Selected = (no include filter, or one of them matches) and no exclude filter matches; order is irrelevant. */
export function isGroupSelected(group: BackupGroup, filters: readonly GroupFilter[]): boolean {
  const includes = filters.filter((filter) => !filter.exclude);
  const included = includes.length === 0 || includes.some((filter) => filter.matches(group));
  return included && !filters.some((filter) => filter.exclude && filter.matches(group));
}
