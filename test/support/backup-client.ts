import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import { Duplex } from 'node:stream';
import { toHex } from '../../src/base/bytes.ts';
import { archiveKind, type BackupSnapshot } from '../../src/format/backup-path.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { encodeManifestBlob, type ManifestFile } from '../../src/format/manifest.ts';
import { createHash } from 'node:crypto';
import type { TestServer } from './api-ground.ts';
import { h2ClientOn, h2Request } from './http2-client.ts';
import { digestOf, madeIndex } from './made-snapshots.ts';

export const backupProtocol = 'proxmox-backup-protocol-v1';

export type IndexKind = 'fixed' | 'dynamic';

/** What a session is opened with. */
export interface BackupRequest {
  snapshot: BackupSnapshot;
  as?: string;
  store?: string;
  ns?: string;
  benchmark?: boolean;
  debug?: boolean;
}

export function backupTarget({ snapshot, store = 'main', ns, benchmark = false, debug = false }: BackupRequest): string {
  const query = new URLSearchParams({ 'backup-id': snapshot.id, 'backup-time': String(snapshot.time), 'backup-type': snapshot.type, benchmark: String(benchmark), debug: String(debug), ...(ns === undefined ? {} : { ns }), store });
  return `//api2/json/backup?${query.toString()}`;
}

/** A client of one backup session that does as it is told. Answers are `200 {"data":null}`. */
export class BackupClient {
  readonly snapshot: BackupSnapshot;
  readonly h2: ClientHttp2Session;
  readonly socket: Duplex;
  /** What it uploaded, for the manifest. */
  readonly files: ManifestFile[] = [];

  private constructor(snapshot: BackupSnapshot, h2: ClientHttp2Session, socket: Duplex) {
    this.snapshot = snapshot;
    this.h2 = h2;
    this.socket = socket;
  }

  static async open(server: Pick<TestServer, 'upgrade'>, request: BackupRequest): Promise<BackupClient> {
    const answer = await server.upgrade(request.as ?? 'admin@pbs', backupTarget(request), backupProtocol);
    if (!(answer instanceof Duplex)) throw new Error(`${answer.status} ${answer.body.toString()}`);
    answer.on('error', () => {});
    return new BackupClient(request.snapshot, await h2ClientOn(answer), answer);
  }

  async call(method: string, path: string, body?: Buffer, contentType?: string): Promise<string> {
    const { status, body: answer } = await h2Request(this.h2, method, path, { ...(body === undefined ? {} : { body }), ...(contentType === undefined ? {} : { headers: { 'content-type': contentType } }) });
    return `${status} ${answer.toString()}`;
  }

  /** The file of the base snapshot, or the refusal. */
  async previous(name: string): Promise<Buffer | string> {
    const { status, body } = await h2Request(this.h2, 'GET', `/previous?archive-name=${name}`);
    return status === 200 ? body : `${status} ${body.toString()}`;
  }

  /** Uploads `blob`, by default the plain chunk of `data`, with what it announces by default true. */
  async chunk(kind: IndexKind, wid: number, data: Buffer, lies: { digest?: string; size?: number; encodedSize?: number; blob?: Buffer } = {}): Promise<string> {
    const blob = lies.blob ?? encodeBlob(data, { compress: false });
    const digest = lies.digest ?? toHex(digestOf(data));
    return this.call('POST', `/${kind}_chunk?wid=${wid}&digest=${digest}&size=${lies.size ?? data.length}&encoded-size=${lies.encodedSize ?? blob.length}`, blob);
  }

  async append(kind: IndexKind, wid: number, digests: readonly string[], offsets: readonly number[]): Promise<string> {
    return this.call('PUT', `/${kind}_index`, Buffer.from(JSON.stringify({ wid, 'digest-list': digests, 'offset-list': offsets })), 'application/json');
  }

  async close(kind: IndexKind, wid: number, chunkCount: number, size: number, csum: string): Promise<string> {
    return this.call('POST', `/${kind}_close?wid=${wid}&chunk-count=${chunkCount}&size=${size}&csum=${csum}`);
  }

  async blob(name: string, blob: Buffer): Promise<string> {
    const answer = await this.call('POST', `/blob?file-name=${name}&encoded-size=${blob.length}`, blob);
    if (name !== 'index.json.blob') this.files.push({ filename: name, cryptMode: 'none', size: blob.length, csum: createHash('sha256').update(blob).digest('hex') });
    return answer;
  }

  /** A whole index archive. `sendOnly`: the others are known already. */
  async archive(name: string, chunks: readonly Buffer[], sendOnly: readonly Buffer[] = chunks): Promise<void> {
    for (const step of this.archiveSteps(name, chunks, sendOnly)) await step();
  }

  /** The same, in steps. */
  archiveSteps(name: string, chunks: readonly Buffer[], sendOnly: readonly Buffer[] = chunks): Array<() => Promise<void>> {
    const kind = archiveKind(name) === 'fixed' ? 'fixed' : 'dynamic';
    const { size, csum } = madeIndex(name, chunks, 0);
    let wid = 0;
    let offset = 0;
    const place = chunks.map((chunk) => {
      offset += chunk.length;
      return { digest: toHex(digestOf(chunk)), offset: offset - chunk.length };
    });
    return [
      async () => {
        wid = Number(JSON.parse(ok(await this.call('POST', `/${kind}_index?archive-name=${name}${kind === 'fixed' ? `&size=${size}` : ''}`))).data);
      },
      ...sendOnly.map((chunk) => async () => void ok(await this.chunk(kind, wid, chunk))),
      async () => void ok(await this.append(kind, wid, place.map((one) => one.digest), place.map((one) => one.offset))),
      async () => {
        ok(await this.close(kind, wid, chunks.length, size, csum));
        this.files.push({ filename: name, cryptMode: 'none', size, csum });
      },
    ];
  }

  /** The manifest over what was uploaded. */
  async manifest(): Promise<string> {
    const { type, id, time } = this.snapshot;
    return this.blob('index.json.blob', encodeManifestBlob({ backupType: type, backupId: id, backupTime: time, files: this.files, signature: null, unprotected: {} }));
  }

  async finish(): Promise<string> {
    return this.call('POST', '/finish');
  }

  /** Leaves as clients do. */
  async end(): Promise<void> {
    this.h2.close();
    if (!this.socket.closed) await once(this.socket, 'close');
  }

  /** The connection breaks. */
  async cut(): Promise<void> {
    const socket = this.socket as Duplex & { resetAndDestroy?: () => void };
    const closed = socket.closed ? null : once(socket, 'close');
    socket.resetAndDestroy?.();
    this.h2.destroy();
    await closed;
  }
}

/** The body of a good answer. */
export function ok(answer: string): string {
  assert.match(answer, /^200 /);
  return answer.slice(4);
}
