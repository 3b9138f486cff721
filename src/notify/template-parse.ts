import { FormatError } from '../base/errors.ts';

/** Grammar of notification and webhook templates: the part of Handlebars that they use (spec server 14.3). */

export type Expression =
  | { kind: 'literal'; value: string | number | boolean | null }
  /** `up`: how many scopes outwards (`../`). Names that begin with `@` are data of a loop. */
  | { kind: 'path'; up: number; names: readonly string[] }
  | { kind: 'call'; helper: string; given: readonly Expression[] };

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'value'; value: Expression; isRaw: boolean }
  | { kind: 'block'; block: BlockName; value: Expression; body: readonly Node[]; otherwise: readonly Node[] };

const blockNames = ['if', 'unless', 'each', 'with'] as const;
export type BlockName = (typeof blockNames)[number];

const maxSourceLength = 256 * 1024;
const maxNesting = 32;

function fail(why: string): never {
  throw new FormatError('format.template', `template: ${why}`);
}

interface Tag {
  kind: 'text' | 'value' | 'raw' | 'open' | 'close' | 'else' | 'comment';
  /** Text, or what stands inside the braces. */
  text: string;
  trimBefore: boolean;
  trimAfter: boolean;
}

function tagOf(inside: string, isTriple: boolean): Tag {
  const trimBefore = inside.startsWith('~');
  const trimAfter = inside.endsWith('~') && inside.length > 1;
  const text = inside.slice(trimBefore ? 1 : 0, trimAfter ? -1 : undefined).trim();
  const trims = { trimBefore, trimAfter };
  if (isTriple) return { kind: 'raw', text, ...trims };
  if (text === 'else' || /^else\s/.test(text)) return { kind: 'else', text: text.slice(4).trim(), ...trims };
  switch (text.slice(0, 1)) {
    case '!':
      return { kind: 'comment', text: '', ...trims };
    case '#':
      return { kind: 'open', text: text.slice(1).trim(), ...trims };
    case '/':
      return { kind: 'close', text: text.slice(1).trim(), ...trims };
    case '&':
      return { kind: 'raw', text: text.slice(1).trim(), ...trims };
    case '>':
    case '^':
      return fail(`'{{${text.slice(0, 1)}' is not supported`);
    default:
      return { kind: 'value', text, ...trims };
  }
}

function tagsOf(source: string): Tag[] {
  const tags: Tag[] = [];
  const plain = { trimBefore: false, trimAfter: false };
  let at = 0;
  while (at < source.length) {
    const start = source.indexOf('{{', at);
    if (start !== at) tags.push({ kind: 'text', text: source.slice(at, start < 0 ? undefined : start), ...plain });
    if (start < 0) break;
    const isTriple = source.startsWith('{{{', start);
    const isLongComment = /^\{\{~?!--/.test(source.slice(start, start + 6));
    const opening = isTriple ? '{{{' : '{{';
    const closing = isTriple ? '}}}' : '}}';
    const from = isLongComment ? source.indexOf('--', source.indexOf('!--', start) + 3) : start + opening.length;
    const end = from < 0 ? -1 : source.indexOf(closing, from);
    if (end < 0) fail(`'${opening}' is not closed`);
    tags.push(tagOf(source.slice(start + opening.length, end), isTriple));
    at = end + closing.length;
  }
  return tags;
}

/** A block's tag or a comment that stands alone on its line takes the line with it; `~` takes all white space. */
function trimmed(tags: readonly Tag[]): Tag[] {
  const result = tags.map((tag) => ({ ...tag }));
  const text = (i: number): Tag | undefined => (result[i]?.kind === 'text' ? result[i] : undefined);
  // Against the texts as they were written, so that one tag alone on its line does not hide the next one's.
  for (const [i, tag] of tags.entries()) {
    if (!['open', 'close', 'else', 'comment'].includes(tag.kind)) continue;
    const [before, after] = [tags[i - 1], tags[i + 1]];
    const startsLine = before === undefined || (before.kind === 'text' && /(?:^|\n)[ \t]*$/.test(before.text) && (i === 1 || before.text.includes('\n')));
    const endsLine = after === undefined || (after.kind === 'text' && /^[ \t]*(?:\r?\n|$)/.test(after.text) && (i + 2 === tags.length || after.text.includes('\n')));
    if (!startsLine || !endsLine) continue;
    const [textBefore, textAfter] = [text(i - 1), text(i + 1)];
    if (textBefore !== undefined) textBefore.text = textBefore.text.replace(/[ \t]*$/, '');
    if (textAfter !== undefined) textAfter.text = textAfter.text.replace(/^[ \t]*(?:\r?\n)?/, '');
  }
  for (const [i, tag] of result.entries()) {
    const [textBefore, textAfter] = [text(i - 1), text(i + 1)];
    if (tag.trimBefore && textBefore !== undefined) textBefore.text = textBefore.text.trimEnd();
    if (tag.trimAfter && textAfter !== undefined) textAfter.text = textAfter.text.trimStart();
  }
  return result;
}

const tokenPattern = /\s*(?:(\(|\))|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s()"']+))/y;

interface Token {
  kind: 'paren' | 'string' | 'word';
  text: string;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    tokenPattern.lastIndex = at;
    const match = tokenPattern.exec(text);
    if (match === null) return fail(`'${text.slice(at, at + 40)}' is not understood`);
    const [whole, paren, double, single, word] = match;
    const string = double ?? single;
    if (paren !== undefined) tokens.push({ kind: 'paren', text: paren });
    else if (string !== undefined) tokens.push({ kind: 'string', text: string.replaceAll(/\\(["'\\])/g, '$1') });
    else tokens.push({ kind: 'word', text: word! });
    at += whole.length;
  }
  return tokens;
}

function wordOf(text: string): Expression {
  if (/^-?[0-9]+(?:\.[0-9]+)?$/.test(text)) return { kind: 'literal', value: Number(text) };
  if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
  if (text === 'null' || text === 'undefined') return { kind: 'literal', value: null };
  const outwards = /^(?:\.\.\/)*/.exec(text)![0];
  const rest = text.slice(outwards.length).replace(/^\.\//, '');
  const up = outwards.length / 3 + (rest === '..' ? 1 : 0);
  if (rest === 'this' || rest === '.' || rest === '..' || rest === '') return { kind: 'path', up, names: [] };
  const names = rest.replace(/^this[./]/, '').split(/[./]/);
  const plain = names.map((name) => name.replace(/^\[(.*)\]$/, '$1'));
  if (plain.some((name) => !/^@?[\p{L}\p{N}_-]+$/u.test(name))) fail(`'${text.slice(0, 40)}' is not understood`);
  return { kind: 'path', up, names: plain };
}

/** One expression of `tokens` from `at`; a call takes everything up to the closing parenthesis or the end. */
function expressionOf(text: string): Expression {
  const tokens = tokensOf(text);
  let at = 0;
  const one = (depth: number): Expression => {
    const token = tokens[at];
    if (token === undefined || depth > maxNesting) return fail(`'${text.slice(0, 40)}' is not understood`);
    at += 1;
    if (token.kind === 'string') return { kind: 'literal', value: token.text };
    if (token.kind === 'word') return wordOf(token.text);
    if (token.text === ')') return fail(`unexpected ')' in '${text.slice(0, 40)}'`);
    const inner = call(depth + 1);
    if (tokens[at]?.text !== ')') return fail(`'(' is not closed in '${text.slice(0, 40)}'`);
    at += 1;
    return inner;
  };
  const call = (depth: number): Expression => {
    const name = tokens[at];
    const first = one(depth);
    const given: Expression[] = [];
    while (at < tokens.length && !(tokens[at]!.kind === 'paren' && tokens[at]!.text === ')')) given.push(one(depth));
    if (given.length === 0 && depth === 0) return first;
    return name?.kind === 'word' ? { kind: 'call', helper: name.text, given } : fail(`'${text.slice(0, 40)}' is not understood`);
  };
  const expression = call(0);
  return at === tokens.length ? expression : fail(`'${text.slice(0, 40)}' is not understood`);
}

function blockOf(text: string): { block: BlockName; value: Expression } {
  const [, name = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(text) ?? [];
  const block = blockNames.find((one) => one === name);
  if (block === undefined) return fail(`block '${name.slice(0, 40)}' is not known`);
  return { block, value: expressionOf(rest) };
}

/** FormatError `format.template` for what is no template. */
export function parseTemplate(source: string): Node[] {
  if (source.length > maxSourceLength) fail(`longer than ${maxSourceLength} characters`);
  const reader = new TagReader(trimmed(tagsOf(source)));
  const nodes = reader.nodes(0);
  const rest = reader.next();
  if (rest !== undefined) fail(`unexpected '{{${rest.kind === 'else' ? 'else' : `/${rest.text}`}}}'`);
  return nodes;
}

class TagReader {
  readonly #tags: readonly Tag[];
  #at = 0;

  constructor(tags: readonly Tag[]) {
    this.#tags = tags;
  }

  next(): Tag | undefined {
    const tag = this.#tags[this.#at];
    this.#at += 1;
    return tag;
  }

  /** Up to the end, or a tag that ends or divides the block. */
  nodes(depth: number): Node[] {
    if (depth > maxNesting) fail('nested too deeply');
    const found: Node[] = [];
    for (let tag = this.next(); tag !== undefined; tag = this.next()) {
      if (tag.kind === 'close' || tag.kind === 'else') {
        this.#at -= 1;
        break;
      }
      if (tag.kind === 'text' && tag.text !== '') found.push({ kind: 'text', text: tag.text });
      else if (tag.kind === 'value' || tag.kind === 'raw') found.push({ kind: 'value', value: expressionOf(tag.text), isRaw: tag.kind === 'raw' });
      else if (tag.kind === 'open') {
        const { block, value } = blockOf(tag.text);
        found.push(this.#block(block, value, block, depth));
      }
    }
    return found;
  }

  /** What follows the opening tag; `closing` is the name in the tag that ends it, with `else if` that of the first of the chain. */
  #block(block: BlockName, value: Expression, closing: BlockName, depth: number): Node {
    const body = this.nodes(depth + 1);
    const tag = this.next();
    if (tag?.kind === 'else' && tag.text !== '') {
      const inner = blockOf(tag.text);
      return { kind: 'block', block, value, body, otherwise: [this.#block(inner.block, inner.value, closing, depth + 1)] };
    }
    const otherwise = tag?.kind === 'else' ? this.nodes(depth + 1) : [];
    const end = tag?.kind === 'else' ? this.next() : tag;
    if (end?.kind !== 'close' || end.text !== closing) fail(`block '${closing}' is not closed`);
    return { kind: 'block', block, value, body, otherwise };
  }
}
