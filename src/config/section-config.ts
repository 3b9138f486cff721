import assert from 'node:assert/strict';
import type { Static, TObject, TSchema } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { missingSection } from './missing-section.ts';
import { isRequired, itemsOf, readScalar, recordProblem, scalarProblem } from './schema-check.ts';

/**
 * The section grammar of the reference's configuration files (spec rest-api 8), lossless: what this server does not
 * know (comments, sections of other types, properties of known sections) stays where it is when a file is written.
 * A section that is not changed is written as it was read; a changed one as the reference writes it.
 */

/** A kind of section: its word, which key of the record holds the section id, and the schema of the whole record. */
export interface SectionType<S extends TObject = TObject> {
  readonly type: string;
  readonly idProperty: string;
  /** All properties, the id among them, with the names of file and API. */
  readonly schema: S;
}

export type RecordOf<T> = T extends SectionType<infer S> ? Static<S> : never;

export function sectionType<S extends TObject>(type: string, idProperty: keyof Static<S> & string, schema: S): SectionType<S> {
  return { type, idProperty, schema };
}

type PropertyValue = string | number | boolean | string[];
type SectionRecord = Record<string, PropertyValue>;

interface Section {
  type: string;
  id: string;
  /** Lines as read, without line feeds; null when the section was changed. */
  raw: string[] | null;
  /** Null for a type that this server does not know; its lines are in `raw`. */
  record: SectionRecord | null;
  /** Properties that the schema does not have: key, value. */
  unknown: Array<[string, string]>;
  /** Comment lines inside the section. */
  comments: string[];
}

/** Comment lines between sections. */
interface Remark {
  lines: string[];
  /** A blank line parts it from what follows. */
  detached: boolean;
}

type Block = Section | Remark;

/** White space as the reference sees it (Unicode White_Space; JavaScript's `\s` has one character more and one less). */
const spaceClass = '[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const blankLine = new RegExp(`^${spaceClass}*$`);
const surroundingSpace = new RegExp(`^${spaceClass}+|${spaceClass}+$`, 'g');
const propertyLine = new RegExp(`^${spaceClass}+([^\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+)${spaceClass}(.*)$`, 's');

function trim(text: string): string {
  return text.replaceAll(surroundingSpace, '');
}

function isSection(block: Block): block is Section {
  return 'type' in block;
}

function isKnown(block: Block): block is Section {
  return isSection(block) && block.record !== null;
}

/** `line N - what`, as the reference reports a file that it cannot use. */
class LineError extends Error {
  constructor(line: number, what: string) {
    super(`line ${line} - ${what}`);
  }
}

function parseFailed(fileName: string, cause: string): ConfigError {
  return new ConfigError('config.syntax', `parsing "${fileName}" failed: ${cause}`, { hint: `correct ${fileName} by hand; nothing that needs it works until then` });
}

export class SectionConfig {
  readonly #types: ReadonlyMap<string, SectionType>;
  #blocks: Block[];
  /** Sections of known types by id; a later section of a file replaces an earlier one with the same id. */
  #byId: Map<string, Section>;

  constructor(types: readonly SectionType[]) {
    this.#types = new Map(types.map((type) => [type.type, type]));
    this.#blocks = [];
    this.#byId = new Map();
  }

  /**
   * Reads a file. ConfigError `config.syntax` with file and line for a malformed line, a bad id, a duplicate or
   * missing property, a value that its schema refuses.
   */
  static parse(text: string, types: readonly SectionType[], fileName: string): SectionConfig {
    const config = new SectionConfig(types);
    try {
      config.#read(text);
    } catch (e) {
      if (e instanceof LineError) throw parseFailed(fileName, e.message);
      throw e;
    }
    return config;
  }

  #read(text: string): void {
    const lines = text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    let section: SectionReader | null = null;
    let remark: Remark | null = null;
    for (const [i, line] of lines.entries()) {
      if (blankLine.test(line)) {
        if (section !== null) this.#add(section.finish(i));
        if (remark !== null) remark.detached = true;
        section = null;
        remark = null;
      } else if (section !== null) {
        section.push(line, i + 1);
      } else if (line.startsWith('#')) {
        if (remark === null) {
          remark = { lines: [], detached: false };
          this.#blocks.push(remark);
        }
        remark.lines.push(line);
      } else {
        section = new SectionReader(line, i + 1, this.#types);
        remark = null;
      }
    }
    if (section !== null) this.#add(section.finish(lines.length));
  }

  #add(section: Section): void {
    this.#blocks.push(section);
    if (section.record !== null) this.#byId.set(section.id, section);
  }

  /** A section that counts: not one that a later section with the same id replaces. */
  #isCurrent(block: Block): block is Section {
    return isSection(block) && (block.record === null || this.#byId.get(block.id) === block);
  }

  /** Records of one type, in file order. They are copies. */
  list<S extends TObject>(type: SectionType<S>): Array<Static<S>> {
    const found: Array<Static<S>> = [];
    for (const block of this.#blocks) {
      if (this.#isCurrent(block) && block.type === type.type) found.push(recordOf(type, block));
    }
    return found;
  }

  /** A copy of one record, or undefined. */
  find<S extends TObject>(type: SectionType<S>, id: string): Static<S> | undefined {
    const section = this.#byId.get(id);
    return section?.type === type.type ? recordOf(type, section) : undefined;
  }

  /** The same; ConfigError `config.missing` in the reference's words when it is not there. */
  get<S extends TObject>(type: SectionType<S>, id: string): Static<S> {
    const record = this.find(type, id);
    if (record === undefined) throw missingSection(type.type, id);
    return record;
  }

  /** True when any section, of whatever type, has this id: ids are unique in a file. */
  has(id: string): boolean {
    return this.#byId.has(id) || this.#blocks.some((block) => isSection(block) && block.id === id);
  }

  /** Ids of all sections with their types, in file order, unknown ones too. */
  ids(): Array<{ type: string; id: string }> {
    return this.#blocks.filter((block) => this.#isCurrent(block)).map(({ type, id }) => ({ type, id }));
  }

  /**
   * Adds a section at the end, or replaces the one with the same id where it stands; its unknown properties and
   * comments stay. ConfigError `config.value` when the record does not fit its schema.
   */
  set<S extends TObject>(type: SectionType<S>, record: Static<S>): void {
    const { [type.idProperty]: id, ...properties } = clean(record);
    assert.ok(typeof id === 'string', `a section has its ${type.idProperty}`);
    const problem = recordProblem(type.schema, { ...properties, [type.idProperty]: id });
    if (problem !== null) {
      throw new ConfigError('config.value', `verify section '${id}' failed - parameter verification failed - '${problem.name}': ${problem.problem}`);
    }
    refuseControlCharacters(id, properties);
    const old = this.#byId.get(id);
    const kept = old?.type === type.type ? old : undefined;
    const section: Section = { type: type.type, id, raw: null, record: properties, unknown: kept?.unknown ?? [], comments: kept?.comments ?? [] };
    const keep = this.#blocks.filter((block) => block === old || !isKnown(block) || block.id !== id);
    this.#blocks = keep.map((block) => (block === old ? section : block));
    if (old === undefined) this.#blocks.push(section);
    this.#byId.set(id, section);
  }

  /** Removes a section; false when there is none of this type. */
  remove(type: SectionType, id: string): boolean {
    if (this.#byId.get(id)?.type !== type.type) return false;
    this.#byId.delete(id);
    this.#blocks = this.#blocks.filter((block) => !isKnown(block) || block.id !== id);
    return true;
  }

  /**
   * The file's text: one blank line between sections, a line feed at the end of the last line, and otherwise what was
   * read for each section that was not changed.
   */
  serialize(): string {
    const lines: string[] = [];
    let parted = true;
    for (const block of this.#blocks) {
      if (!parted) lines.push('');
      lines.push(...(isSection(block) ? (block.raw ?? this.#render(block)) : block.lines));
      parted = !isSection(block) && !block.detached;
    }
    return lines.map((line) => `${line}\n`).join('');
  }

  #render(section: Section): string[] {
    assert.ok(section.record !== null, 'only known sections are changed');
    const properties: Array<[string, string]> = [...section.unknown];
    for (const [key, value] of Object.entries(section.record)) {
      for (const one of Array.isArray(value) ? value : [value]) properties.push([key, String(one)]);
    }
    // Stable: the items of a list keep their order.
    properties.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
    return [`${section.type}: ${section.id}`, ...section.comments, ...properties.map(([key, value]) => `\t${key} ${value}`)];
  }

  /** A copy that can be changed without touching this one. */
  clone(): SectionConfig {
    const copy = new SectionConfig([...this.#types.values()]);
    // Sections and gaps are never changed in place, only replaced.
    copy.#blocks = [...this.#blocks];
    copy.#byId = new Map(this.#byId);
    return copy;
  }
}

function recordOf<S extends TObject>(type: SectionType<S>, section: Section): Static<S> {
  assert.ok(section.record !== null, 'a section of a known type has a record');
  // Record and lists are copied so that nobody changes what is cached.
  return { [type.idProperty]: section.id, ...structuredClone(section.record) } as Static<S>;
}

/** Without absent, null and empty-list properties, which have no line in the file. */
function clean(record: Readonly<Record<string, unknown>>): SectionRecord {
  const kept = Object.entries(record).filter(([, value]) => value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0));
  return structuredClone(Object.fromEntries(kept)) as SectionRecord;
}

/** ASCII control characters only: those that would end a line, or that the reference refuses. */
function hasControlCharacter(text: string): boolean {
  return Array.from(text).some((character) => character < ' ' || character === '\u007f');
}

function refuseControlCharacters(id: string, properties: SectionRecord): void {
  for (const [key, value] of [['id', id] as const, ...Object.entries(properties)]) {
    const texts = Array.isArray(value) ? value : [String(value)];
    if (texts.some(hasControlCharacter)) {
      throw new ConfigError('config.value', `verify section '${id}' failed - found control characters in property '${key}'`);
    }
  }
}

/** One section while its lines come in. */
class SectionReader {
  readonly #section: Section;
  readonly #raw: string[];
  readonly #type: SectionType | undefined;

  constructor(header: string, line: number, types: ReadonlyMap<string, SectionType>) {
    const colon = header.indexOf(':');
    if (!/^[A-Za-z]/.test(header) || colon < 0) throw new LineError(line, 'syntax error (expected header)');
    const type = trim(header.slice(0, colon));
    const id = trim(header.slice(colon + 1));
    this.#type = types.get(type);
    if (this.#type !== undefined) {
      const problem = scalarProblem(this.#type.schema.properties[this.#type.idProperty]!, id);
      if (problem !== null) throw new LineError(line, `syntax error in section identifier: ${problem}`);
    }
    this.#raw = [header];
    this.#section = { type, id, raw: this.#raw, record: this.#type === undefined ? null : {}, unknown: [], comments: [] };
  }

  push(line: string, number: number): void {
    this.#raw.push(line);
    if (trim(line).startsWith('#')) {
      this.#section.comments.push(line);
      return;
    }
    const match = propertyLine.exec(line);
    if (match === null) throw new LineError(number, 'syntax error (expected section properties)');
    const key = match[1]!;
    const text = trim(match[2]!);
    const schema = this.#schemaOf(key);
    if (this.#section.record === null || schema === undefined) this.#section.unknown.push([key, text]);
    else this.#property(this.#section.record, schema, key, text, number);
  }

  #schemaOf(key: string): TSchema | undefined {
    if (this.#type === undefined || key === this.#type.idProperty || !Object.hasOwn(this.#type.schema.properties, key)) return undefined;
    return this.#type.schema.properties[key];
  }

  #property(record: SectionRecord, schema: TSchema, key: string, text: string, number: number): void {
    const items = itemsOf(schema);
    const read = readScalar(items ?? schema, text);
    if ('problem' in read) throw new LineError(number, `property '${key}': ${read.problem}`);
    const present = Object.hasOwn(record, key) ? record[key] : undefined;
    if (items !== null) {
      record[key] = Array.isArray(present) ? [...present, String(read.value)] : [String(read.value)];
    } else {
      if (present !== undefined) throw new LineError(number, `duplicate property '${key}'`);
      record[key] = read.value as string | number | boolean;
    }
  }

  finish(lastLine: number): Section {
    const { record } = this.#section;
    if (this.#type !== undefined && record !== null) {
      const { schema, idProperty } = this.#type;
      for (const key of Object.keys(schema.properties)) {
        if (key !== idProperty && isRequired(schema, key) && !Object.hasOwn(record, key)) {
          throw new LineError(lastLine, `property '${key}' is missing and it is not optional.`);
        }
      }
    }
    return this.#section;
  }
}
