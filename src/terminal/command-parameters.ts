import { Type } from 'typebox';
import type { TObject, TSchema } from 'typebox';
import { oneOf } from '../config/schemas.ts';

/** How the parameters of a command are put together. */

export type Properties = Readonly<Record<string, TSchema>>;

/** `schema` with another description (and other keywords). */
export function described(schema: TSchema, description: string, more: Record<string, unknown> = {}): TSchema {
  return { ...schema, description, ...more };
}

/** Parameters of a command from the required and the optional ones. Sorted: missing ones are reported in this order. */
export function parameters(required: Properties, optional: Properties = {}): TObject {
  const all = { ...required, ...Object.fromEntries(Object.entries(optional).map(([name, schema]) => [name, Type.Optional(schema)])) };
  return Type.Object(Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))));
}

export const outputFormatOption = { 'output-format': oneOf(['text', 'json', 'json-pretty'], 'Output format.') };
