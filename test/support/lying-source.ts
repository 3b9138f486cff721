import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { parseDigest } from '../../src/base/bytes.ts';
import { errorCode } from '../../src/base/errors.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { listGroupInfos, listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import type { BackupSnapshot } from '../../src/format/backup-path.ts';
import type { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { startScriptedRemote, type ScriptedRemote } from './scripted-remote.ts';
import { endpointOf } from './sync-source.ts';

export interface Lies {
  /** In place of the data of a listing: `namespace`, `groups`, `snapshots`. */
  listing?: Partial<Record<string, unknown>>;
  /** Answers an API request itself (`true`). */
  onRequest?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** In place of a file or a chunk (64 hex digits); null = 404. */
  body?: (name: string, honest: Buffer | null) => Buffer | null;
  /** Answers a file or chunk itself (`true`). */
  onStream?: (stream: ServerHttp2Stream, name: string, body: Buffer | null) => boolean;
}

export interface LyingSource extends AsyncDisposable {
  remote: ScriptedRemote;
  endpoint: RemoteEndpoint;
  /** Files and chunks asked for. */
  asked: string[];
}

/** A source that serves one snapshot of `store`, as it is but for `lies`; it shares no code with the server. */
export async function startLyingSource(store: Datastore, snapshot: BackupSnapshot, lies: Lies): Promise<LyingSource> {
  const asked: string[] = [];
  const honestBody = async (name: string): Promise<Buffer | null> => {
    const digest = parseDigest(name);
    try {
      return digest === null ? await readFile(join(store.snapshotPath('', snapshot), name)) : await store.chunks.read(digest);
    } catch (e) {
      if (['ENOENT', 'store.chunk-missing'].includes(errorCode(e))) return null;
      throw e;
    }
  };
  const listing = async (name: string): Promise<unknown> => {
    if (lies.listing !== undefined && name in lies.listing) return lies.listing[name];
    if (name === 'namespace') return [{ ns: '' }];
    return name === 'groups' ? listGroupInfos(store, '') : listSnapshotInfos(store, '');
  };
  const remote = await startScriptedRemote({
    onRequest: (request, response) => {
      if (lies.onRequest?.(request, response) === true) return;
      const name = /\/([a-z]+)(\?|$)/.exec(request.url ?? '')?.[1] ?? '';
      void listing(name).then((data) => response.setHeader('content-type', 'application/json').end(JSON.stringify({ data })));
    },
    onStream: (stream, headers) => {
      const name = (headers[':path'] ?? '').split('=')[1] ?? '';
      asked.push(name);
      void honestBody(name).then((honest) => {
        const body = lies.body === undefined ? honest : lies.body(name, honest);
        if (stream.destroyed || lies.onStream?.(stream, name, body) === true) return;
        if (body === null) stream.respond({ ':status': 404 });
        else stream.respond({ ':status': 200, 'content-length': body.length });
        stream.end(body ?? 'not there');
      });
    },
  });
  return {
    remote,
    asked,
    endpoint: endpointOf(remote.port, remote.fingerprint),
    [Symbol.asyncDispose]: () => remote[Symbol.asyncDispose](),
  };
}
