import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AccessControl } from '../../access/access-control.ts';
import { pause } from '../../base/async.ts';
import { HttpError } from '../../base/errors.ts';
import { expose, expositionType, gauge, type Metric } from '../../metrics/exposition.ts';
import { clearCookie } from '../answer.ts';
import type { Caller } from '../endpoint.ts';
import { apiVersion } from '../version.ts';

export interface MonitoringPagesParts {
  /** Who asks; null: nobody who may come in. */
  authenticate: (request: IncomingMessage) => Promise<Caller | null>;
  access: AccessControl;
  /** Metrics that a caller may see. */
  metricsOf: (authId: string) => Promise<Metric[]>;
  /** Whether this server does what it is for. */
  isHealthy: () => boolean;
  repositoryId: string;
  /** Before the answer to somebody without credentials. */
  unauthorizedMs: number;
}

type Page = (components: readonly string[], request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** `/metrics` for Prometheus and `/healthz`; every other page is `others`. Metrics need an API token (also as `Bearer id:secret`) or a ticket, with a right to audit something. */
export function monitoringPages(parts: MonitoringPagesParts, others: Page): Page {
  return async (components, request, response) => {
    const path = components.join('/');
    if (path === 'healthz') sendHealth(parts, response);
    else if (path === 'metrics') await sendMetrics(parts, request, response);
    else await others(components, request, response);
  };
}

/** No word more than whether: anybody may ask. */
function sendHealth({ isHealthy }: MonitoringPagesParts, response: ServerResponse): void {
  const ok = isHealthy();
  send(response, ok ? 200 : 503, ok ? 'ok\n' : 'not ok\n', 'text/plain;charset=UTF-8');
}

async function sendMetrics(parts: MonitoringPagesParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const caller = await parts.authenticate(request);
  if (caller === null) {
    await pause(parts.unauthorizedMs);
    response.setHeader('set-cookie', clearCookie);
    send(response, 401, 'authentication failed', 'text/plain;charset=UTF-8');
    return;
  }
  const { authId } = caller;
  const { access } = parts;
  if (!access.anyPrivilegeBelow(authId, '/datastore', ['Datastore.Audit']) && !access.check(authId, '/system/status', ['Sys.Audit'])) {
    throw new HttpError(403, 'permission check failed - missing Datastore.Audit on /datastore');
  }
  const general = [
    gauge('pbs_up', 'Whether the server answers.', [], [{ labels: {}, value: 1 }]),
    gauge('pbs_version', 'Version of the API.', ['version', 'release', 'repoid'], [{ labels: { ...apiVersion, repoid: parts.repositoryId }, value: 1 }]),
  ];
  send(response, 200, await expose([...general, ...(await parts.metricsOf(authId))]), expositionType);
}

function send(response: ServerResponse, status: number, text: string, type: string): void {
  const body = Buffer.from(text);
  response.writeHead(status, { 'content-type': type, 'content-length': body.length, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  response.end(body);
}

/** Headers in which `Authorization: Bearer id:secret`, which every scraper knows, is the API token that it means. */
export function withBearerAsToken(rawHeaders: readonly string[]): string[] {
  return rawHeaders.map((value, i) => (i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === 'authorization' ? value.replace(/^Bearer +/i, 'PBSAPIToken=') : value));
}
