import { Type } from 'typebox';

/** Group filters as parameters: the grammar itself says what is wrong with one, where the pattern of the schema would only say that it does not match. */
export const groupFilterList = Type.Array(Type.String({ maxLength: 4096, format: 'group-filter' }), { maxItems: 1024, description: 'Groups to take.' });
