import { FormatError } from '../base/errors.ts';
import { parseTemplate, type Expression, type Node } from './template-parse.ts';

/** Renders templates: no code of a template runs, only own properties are read, and work and text are bounded. */

export type Helper = (...given: unknown[]) => unknown;

export interface RenderOptions {
  helpers: Readonly<Record<string, Helper>>;
  /** Of values that are not marked as raw; default: as they are. */
  escape?: (text: string) => string;
}

const maxOutput = 1024 * 1024;
const maxSteps = 200_000;

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The text of a template with `data`. What is not there is empty. FormatError `format.template`. */
export function renderTemplate(source: string, data: unknown, options: RenderOptions): string {
  return new Rendering(options, data).run(parseTemplate(source));
}

interface Scope {
  value: unknown;
  /** `@key`, `@index`, `@first`, `@last`. */
  data: Readonly<Record<string, unknown>>;
  outer: Scope | null;
}

function fail(why: string): never {
  throw new FormatError('format.template', `template: ${why}`);
}

function ownProperty(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value !== undefined && value !== null && value !== false && value !== 0 && value !== '' && !Number.isNaN(value);
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`;
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '[object]';
}

const builtinHelpers: Readonly<Record<string, Helper>> = {
  lookup: (value, name) => ownProperty(value, textOf(name)),
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  gt: (a, b) => Number(a) > Number(b),
  gte: (a, b) => Number(a) >= Number(b),
  lt: (a, b) => Number(a) < Number(b),
  lte: (a, b) => Number(a) <= Number(b),
  and: (...given) => given.every(isTrue),
  or: (...given) => given.some(isTrue),
  not: (value) => !isTrue(value),
  len: (value) => (Array.isArray(value) || typeof value === 'string' ? value.length : Object.keys((value as object | null | undefined) ?? {}).length),
};

class Rendering {
  readonly #options: RenderOptions;
  readonly #root: Scope;
  readonly #pieces: string[] = [];
  #length = 0;
  #steps = 0;

  constructor(options: RenderOptions, data: unknown) {
    this.#options = options;
    this.#root = { value: data, data: {}, outer: null };
  }

  run(nodes: readonly Node[]): string {
    this.#nodes(nodes, this.#root);
    return this.#pieces.join('');
  }

  #nodes(nodes: readonly Node[], scope: Scope): void {
    for (const node of nodes) {
      this.#steps += 1;
      if (this.#steps > maxSteps) fail('takes too long');
      if (node.kind === 'text') this.#push(node.text);
      else if (node.kind === 'block') this.#block(node, scope);
      else {
        const text = textOf(this.#value(node.value, scope));
        this.#push(node.isRaw || this.#options.escape === undefined ? text : this.#options.escape(text));
      }
    }
  }

  #push(text: string): void {
    this.#length += text.length;
    if (this.#length > maxOutput) fail(`makes more than ${maxOutput} characters`);
    this.#pieces.push(text);
  }

  #block({ block, value, body, otherwise }: Node & { kind: 'block' }, scope: Scope): void {
    const given = this.#value(value, scope);
    if (block === 'if' || block === 'unless') this.#nodes(isTrue(given) === (block === 'if') ? body : otherwise, scope);
    else if (block === 'with') this.#nodes(isTrue(given) ? body : otherwise, isTrue(given) ? { value: given, data: scope.data, outer: scope } : scope);
    else {
      const items = typeof given === 'object' && given !== null ? Object.entries(given) : [];
      if (items.length === 0) this.#nodes(otherwise, scope);
      for (const [i, [key, item]] of items.entries()) {
        const isList = Array.isArray(given);
        this.#nodes(body, { value: item, data: { '@key': isList ? i : key, '@index': i, '@first': i === 0, '@last': i === items.length - 1 }, outer: scope });
      }
    }
  }

  #value(expression: Expression, scope: Scope): unknown {
    switch (expression.kind) {
      case 'literal':
        return expression.value;
      case 'path':
        return this.#path(expression, scope);
      case 'call': {
        const { helper: name, given } = expression;
        const helper = this.#helper(name) ?? fail(`helper '${name.slice(0, 40)}' is not known`);
        return helper(...given.map((one) => this.#value(one, scope)));
      }
    }
  }

  #helper(name: string): Helper | undefined {
    const { helpers } = this.#options;
    if (Object.hasOwn(helpers, name)) return helpers[name];
    return Object.hasOwn(builtinHelpers, name) ? builtinHelpers[name] : undefined;
  }

  #path({ up, names }: { up: number; names: readonly string[] }, scope: Scope): unknown {
    let at: Scope | null = scope;
    for (let i = 0; i < up && at !== null; i += 1) at = at.outer;
    if (at === null) return undefined;
    const [first, ...rest] = names;
    if (first === undefined) return at.value;
    if (first === '@root') return rest.reduce(ownProperty, this.#root.value);
    if (first.startsWith('@')) return rest.reduce(ownProperty, at.data[first]);
    return names.reduce(ownProperty, at.value);
  }
}
