import { Type, type TObject, type TProperties } from 'typebox';

/** Parameters in the order of their names: so the reference lists what is missing or wrong (spec rest-api 3.2). */
export function parameterObject<P extends TProperties>(properties: P): TObject<P> {
  const sorted = Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1));
  return Type.Object(Object.fromEntries(sorted) as P);
}
