import type { TSchema } from 'typebox';

/** Keywords of parameter schemas that usage texts and the command line look at (config/schemas.ts). */
export interface ValueKeywords {
  type?: string;
  enum?: readonly unknown[];
  items?: TSchema;
  minimum?: number;
  maximum?: number;
  typetext?: string;
  description?: string;
  default?: string | number | boolean;
}

export function keywordsOf(schema: TSchema | undefined): ValueKeywords {
  return schema ?? {};
}

export function isArraySchema(schema: TSchema | undefined): boolean {
  return keywordsOf(schema).type === 'array';
}

export function isBooleanSchema(schema: TSchema | undefined): boolean {
  return keywordsOf(schema).type === 'boolean';
}
