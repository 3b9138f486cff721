import { nodeName } from '../../config/schemas.ts';

/** URI parameter of everything below `/nodes/{node}`. Any valid name is taken, for clients write `localhost` (spec rest-api 4). */
export const nodeParameter = { node: nodeName };
