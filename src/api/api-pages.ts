import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpError } from '../base/errors.ts';

/** `/openapi.json` and `/api-viewer`: what the API is, for people and programs. Public like all pages; nothing of this installation is in it. */

/** Nothing from elsewhere, nothing inline, in no frame. */
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const files: Readonly<Record<string, { name: string; type: string }>> = {
  'api-viewer': { name: 'index.html', type: 'text/html;charset=UTF-8' },
  'api-viewer/viewer.css': { name: 'viewer.css', type: 'text/css;charset=UTF-8' },
  'api-viewer/viewer.js': { name: 'viewer.js', type: 'text/javascript;charset=UTF-8' },
};

/** `document`: the OpenAPI document, asked for once. The handler throws HttpError 404 for every other page. */
export function apiPages(document: () => object): (components: readonly string[], request: IncomingMessage, response: ServerResponse) => Promise<void> {
  let text: string | null = null;
  return async (components, _request, response) => {
    const path = components.join('/');
    if (path === 'openapi.json') {
      text ??= JSON.stringify(document());
      send(response, text, 'application/json;charset=UTF-8');
      return;
    }
    const file = Object.hasOwn(files, path) ? files[path] : undefined;
    if (file === undefined) throw new HttpError(404, `no such file: '${path}'`);
    send(response, await readFile(new URL(`viewer/${file.name}`, import.meta.url)), file.type);
  };
}

function send(response: ServerResponse, content: string | Uint8Array, type: string): void {
  const body = Buffer.from(content as string);
  response.writeHead(200, {
    'content-type': type,
    'content-length': body.length,
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache',
  });
  response.end(body);
}
