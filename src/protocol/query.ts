export type QueryValue = string | number | boolean | readonly string[] | undefined;
export type QueryParameters = Readonly<Record<string, QueryValue>>;

/** Query string: keys sorted, arrays as repeated keys, undefined left out (spec rest-api 2). */
export function encodeQuery(parameters: QueryParameters): string {
  const query = new URLSearchParams();
  for (const key of Object.keys(parameters).sort()) {
    const value = parameters[key];
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? (value as readonly string[]) : [value as string]) query.append(key, one);
  }
  return query.toString();
}
