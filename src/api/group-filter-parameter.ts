import { Type } from 'typebox';

const typetext = '[<exclude:|include:>]<type:<vm|ct|host>|group:GROUP|regex:RE>';

/** Group filters as parameters: the grammar itself says what is wrong with one, where the pattern of the schema would only say that it does not match. */
export const groupFilterList = Type.Array(Type.String({ maxLength: 4096, format: 'group-filter', typetext }), { maxItems: 1024, typetext, description: 'Groups to take.' });
