/** Text tables (spec manager-cli 2.3). */

export type CellType = 'string' | 'integer' | 'number' | 'boolean';

export interface Column {
  /** Field of the row. */
  name: string;
  /** Default: the field's name. */
  header?: string;
  /** Default `string`. Decides alignment and sort order. */
  type?: CellType;
  /** Default: right for integers, numbers and booleans, else left. */
  align?: 'left' | 'right';
  /** Text of the cell instead of the plain one. `value` is undefined when the field is absent. */
  render?: (value: unknown, row: Row) => string;
}

export type Row = Readonly<Record<string, unknown>>;

export interface TableStyle {
  /** False: no border lines and no header (`PROXMOX_OUTPUT_NO_BORDER`). */
  border: boolean;
  /** False: neither header nor head line (`PROXMOX_OUTPUT_NO_HEADER`). */
  header: boolean;
  /** False: ASCII borders (the locale's charset is not UTF-8). */
  unicode: boolean;
  /** Columns of the terminal: lines are cut there. Undefined: no cut. */
  width: number | undefined;
}

interface BorderLine {
  left: string;
  fill: string;
  cross: string;
  right: string;
}

interface BorderSet {
  top: BorderLine;
  head: BorderLine;
  middle: BorderLine;
  bottom: BorderLine;
  bar: string;
}

const line = (left: string, fill: string, cross: string, right: string): BorderLine => ({ left, fill, cross, right });

const unicodeBorders: BorderSet = {
  top: line('┌', '─', '┬', '┐'),
  head: line('╞', '═', '╪', '╡'),
  middle: line('├', '─', '┼', '┤'),
  bottom: line('└', '─', '┴', '┘'),
  bar: '│',
};

const asciiBorders: BorderSet = {
  top: line('+', '=', '+', '+'),
  head: line('+', '=', '+', '+'),
  middle: line('+', '-', '+', '+'),
  bottom: line('+', '=', '+', '+'),
  bar: '|',
};

/** Scripts whose characters take two cells. Half-width katakana are the exception. */
const wide = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6]/u;
const halfWidth = /[\uFF61-\uFFDC]/u;
const zeroWidth = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Cells that `text` takes on a terminal. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (zeroWidth.test(character)) continue;
    width += wide.test(character) && !halfWidth.test(character) ? 2 : 1;
  }
  return width;
}

function characterCount(text: string): number {
  return Array.from(text).length;
}

/** Text of a value without renderer: booleans 1/0, absent and null empty, nested values as compact JSON. */
export function cellText(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'string') return value;
  return JSON.stringify(value);
}

interface Grid {
  headers: string[];
  rightAligned: boolean[];
  /** Lines of each cell: `cells[row][column][line]`. */
  cells: string[][][];
  measure: (text: string) => number;
}

/** An empty text has no line, so that a row of empty cells takes none. */
function cellLines(text: string): string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function drawGrid(grid: Grid, style: TableStyle): string {
  const { headers, cells, measure } = grid;
  const showHeader = style.border && style.header;
  const widths = headers.map((header, column) =>
    cells.reduce(
      (most, row) => row[column]!.reduce((longest, text) => Math.max(longest, measure(text)), most),
      showHeader ? characterCount(header) : 0,
    ),
  );
  const pad = (text: string, column: number, length: number): string => {
    const blanks = ' '.repeat(Math.max(0, widths[column]! - length));
    return grid.rightAligned[column] === true ? blanks + text : text + blanks;
  };
  const borders = style.unicode ? unicodeBorders : asciiBorders;
  const rule = (kind: BorderLine): string => kind.left + widths.map((width) => kind.fill.repeat(width + 2)).join(kind.cross) + kind.right;
  const frame = (texts: string[]): string => (style.border ? `${borders.bar} ${texts.join(` ${borders.bar} `)} ${borders.bar}` : texts.join(' '));

  const out: string[] = [];
  if (style.border) out.push(rule(borders.top));
  if (showHeader) {
    out.push(frame(headers.map((header, column) => pad(header, column, characterCount(header)))));
    out.push(rule(borders.head));
  }
  for (const [index, row] of cells.entries()) {
    const height = Math.max(...row.map((lines) => lines.length));
    for (let at = 0; at < height; at += 1) {
      out.push(frame(row.map((lines, column) => pad(lines[at] ?? '', column, measure(lines[at] ?? '')))));
    }
    if (style.border) out.push(rule(index === cells.length - 1 ? borders.bottom : borders.middle));
  }
  const cut = (text: string): string => (style.width === undefined ? text : Array.from(text).slice(0, style.width).join(''));
  return out.map((text) => `${cut(text)}\n`).join('');
}

function isNumeric(type: CellType | undefined): boolean {
  return type === 'integer' || type === 'number' || type === 'boolean';
}

function alignsRight(column: Column): boolean {
  return column.align === undefined ? isNumeric(column.type) : column.align === 'right';
}

function compareValues(a: unknown, b: unknown): number {
  const absentA = a === undefined || a === null;
  const absentB = b === undefined || b === null;
  if (absentA || absentB) return Number(absentB) - Number(absentA);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return Buffer.compare(Buffer.from(cellText(a)), Buffer.from(cellText(b)));
}

/** Rows by the first column, ascending, absent values first; a boolean first column keeps the given order. Stable. */
export function sortRows(columns: readonly Column[], rows: readonly Row[]): Row[] {
  const first = columns[0];
  if (first === undefined || first.type === 'boolean') return [...rows];
  return rows.toSorted((a, b) => compareValues(a[first.name], b[first.name]));
}

/** Table of a list of objects; the empty text for an empty list. `sort: false` keeps the given order. */
export function listTable(columns: readonly Column[], rows: readonly Row[], style: TableStyle, sort = true): string {
  if (rows.length === 0) return '';
  return drawGrid(
    {
      headers: columns.map((column) => column.header ?? column.name),
      rightAligned: columns.map(alignsRight),
      cells: (sort ? sortRows(columns, rows) : rows).map((row) =>
        columns.map((column) => {
          const value = row[column.name];
          return cellLines(column.render === undefined ? cellText(value) : column.render(value, row));
        }),
      ),
      measure: displayWidth,
    },
    style,
  );
}

/**
 * Two columns `Name` and `Value`, one row per field of `object` in the order of `fields`; fields that `fields` does not
 * name follow, sorted. Absent fields are left out, null ones have an empty value.
 */
export function objectTable(fields: readonly Column[], object: Row, style: TableStyle): string {
  const known = new Set(fields.map((field) => field.name));
  const more = Object.keys(object)
    .filter((name) => !known.has(name))
    .sort()
    .map((name): Column => ({ name }));
  const shown = [...fields, ...more].filter((field) => object[field.name] !== undefined);
  return drawGrid(
    {
      headers: ['Name', 'Value'],
      rightAligned: [false, fields.length > 0 && fields.every(alignsRight)],
      cells: shown.map((field) => {
        const value = object[field.name];
        return [cellLines(field.name), cellLines(field.render === undefined ? cellText(value) : field.render(value, object))];
      }),
      measure: characterCount,
    },
    style,
  );
}
