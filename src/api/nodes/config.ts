import { createSecureContext } from 'node:tls';
import { Type } from 'typebox';
import { HttpError, toError } from '../../base/errors.ts';
import { nodeConfigSchema, type NodeConfig, type NodeFile } from '../../config/node-config.ts';
import { configDigest, deletable, oneOf } from '../../config/schemas.ts';
import { changedRecord } from '../../config/section-table.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

const { Optional } = Type;

/** Properties of node.cfg, in the reference's order. */
export const nodeConfigNames = ['acme', 'acmedomain0', 'acmedomain1', 'acmedomain2', 'acmedomain3', 'acmedomain4', 'http-proxy', 'email-from', 'ciphers-tls-1.3', 'ciphers-tls-1.2', 'default-lang', 'description', 'task-log-max-days', 'consent-text', 'location'] as const;
export const nodeLanguages = ['ar', 'ca', 'da', 'de', 'en', 'es', 'eu', 'fa', 'fr', 'gl', 'he', 'hu', 'it', 'ja', 'kr', 'nb', 'nl', 'nn', 'pl', 'pt_BR', 'ru', 'sl', 'sv', 'tr', 'zh_CN', 'zh_TW'] as const;

/** Configuration of the node: node.cfg (spec rest-api 9.11). */
export function nodeConfigEndpoints({ node }: { node: NodeFile }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/config',
      description: 'Read the configuration of the node.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'privilege', path: '/system', privileges: ['Sys.Audit'] },
      handler: async () => {
        const { value, digest } = node.load();
        return new Reply(value.record, { digest });
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/nodes/{node}/config',
      description: 'Change the configuration of the node.',
      parameters: Type.Object({
        ...nodeParameter,
        ...nodeConfigSchema.properties,
        'default-lang': Optional(oneOf([...nodeLanguages], 'Language of the web interface.')),
        delete: Optional(deletable([...nodeConfigNames])),
        digest: Optional(configDigest),
      }),
      permission: { kind: 'privilege', path: '/system', privileges: ['Sys.Modify'] },
      handler: async ({ node: _node, delete: reset, digest, ...set }) => {
        for (const name of ['ciphers-tls-1.2', 'ciphers-tls-1.3'] as const) checkCiphers(set[name]);
        await node.update(
          (content) => {
            content.record = changedRecord<NodeConfig>(content.record, { delete: reset, set });
          },
          { digest },
        );
      },
    }),
  ];
}

/** A list that OpenSSL does not know would keep the server from starting. HttpError 400. */
function checkCiphers(ciphers: string | undefined): void {
  if (ciphers === undefined) return;
  try {
    createSecureContext({ ciphers });
  } catch (e) {
    throw new HttpError(400, toError(e).message, { cause: e });
  }
}
