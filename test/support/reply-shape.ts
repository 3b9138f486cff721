/**
 * Shape of JSON: the kind of a value (`number`, or `null|string` where several occur), an object by its members (`name?` where not all have
 * it), `{'[]': shape}` for lists, with null for an empty one.
 */
export type Shape = string | null | { [name: string]: Shape };

export function shapeOf(value: unknown): Shape {
  if (value === null) return 'null';
  if (Array.isArray(value)) return { '[]': merged(value.map(shapeOf)) };
  if (typeof value !== 'object') return typeof value;
  return Object.fromEntries(Object.entries(value as Record<string, unknown>).map(([name, one]) => [name, shapeOf(one)]));
}

function merged(shapes: readonly Shape[]): Shape {
  const known = shapes.filter((shape) => shape !== null);
  const [first] = known;
  if (first === undefined) return null;
  if (known.every((shape) => typeof shape === 'object')) {
    if (known.every((shape) => '[]' in shape)) return { '[]': merged(known.map((shape) => shape['[]']!)) };
    const names = [...new Set(known.flatMap((shape) => Object.keys(shape).map(plain)))].sort();
    return Object.fromEntries(
      names.map((name) => {
        const having = known.filter((shape) => name in shape || `${name}?` in shape);
        const optional = having.length < known.length || having.some((shape) => `${name}?` in shape);
        return [optional ? `${name}?` : name, merged(having.map((shape) => (shape[name] ?? shape[`${name}?`])!))];
      }),
    );
  }
  return [...new Set(known.flatMap((shape) => (typeof shape === 'string' ? shape.split('|') : ['object'])))].sort().join('|');
}

function plain(name: string): string {
  return name.endsWith('?') ? name.slice(0, -1) : name;
}

/**
 * Where one reply's shape is not that of another: other kinds, members that only one has. What is optional in either may be absent in the
 * other, and an empty list says nothing.
 */
export function shapeDifferences(ours: Shape, theirs: Shape, at = ''): string[] {
  if (ours === null || theirs === null) return [];
  if (typeof ours === 'string' || typeof theirs === 'string') {
    const [a, b] = [ours, theirs].map((shape) => (typeof shape === 'string' ? shape : '[]' in shape ? 'list' : 'object'));
    // What may be null in one of the two is the same kind otherwise.
    const kinds = (text: string): Set<string> => new Set(text.split('|').filter((kind) => kind !== 'null'));
    const [mine, other] = [kinds(a!), kinds(b!)];
    return mine.size === 0 || other.size === 0 || [...mine].every((kind) => other.has(kind)) ? [] : [`${at || 'reply'}: ${a}, theirs ${b}`];
  }
  if ('[]' in ours || '[]' in theirs) {
    if (!('[]' in ours && '[]' in theirs)) return [`${at || 'reply'}: ${'[]' in ours ? 'list' : 'object'}, theirs ${'[]' in theirs ? 'list' : 'object'}`];
    return shapeDifferences(ours['[]'], theirs['[]'], `${at}[]`);
  }
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)].map(plain));
  return [...names].flatMap((name) => {
    const [mine, other] = [ours[name] ?? ours[`${name}?`], theirs[name] ?? theirs[`${name}?`]];
    const label = at === '' ? name : `${at}.${name}`;
    if (mine === undefined) return `${name}?` in theirs ? [] : [`${label}: not there`];
    if (other === undefined) return `${name}?` in ours ? [] : [`${label}: only here`];
    return shapeDifferences(mine, other, label);
  });
}
