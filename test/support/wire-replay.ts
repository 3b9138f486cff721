import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { TestServer } from './api-ground.ts';
import { readFixture } from './golden.ts';
import { h2ClientOn, h2Request } from './http2-client.ts';

/** A recorded body; long ones as length and SHA-256 only. */
export interface WireBody {
  bytes: number;
  text?: string;
  base64?: string;
  sha256?: string;
}

/** One recorded request and its answer. */
export interface WireMessage {
  /** Recording and TCP connection. */
  session: string;
  connection: string;
  /** `POST /finish`. */
  request: string;
  /** Who asks; requests of an upgraded connection have none. */
  as?: string;
  contentType?: string;
  body?: WireBody;
  status: number;
  type?: string;
  reply?: WireBody;
}

export interface ReplayedAnswer {
  message: WireMessage;
  status: number;
  type: string | undefined;
  body: Buffer;
}

/** The connections of a recording, in order. */
export function wireConnections(fixture: string): WireMessage[][] {
  const connections = new Map<string, WireMessage[]>();
  for (const line of readFixture(`wire/${fixture}.jsonl`).toString('utf8').trim().split('\n')) {
    const message = JSON.parse(line) as WireMessage;
    const key = `${message.session} ${message.connection}`;
    connections.set(key, [...(connections.get(key) ?? []), message]);
  }
  return [...connections.values()];
}

/** Content of a recorded body; null when only its length and hash are known. */
export function wireBytes(body: WireBody): Buffer | null {
  if (body.text !== undefined) return Buffer.from(body.text, 'utf8');
  return body.base64 === undefined ? null : Buffer.from(body.base64, 'base64');
}

/**
 * Sends the requests of one recorded connection one after the other and returns the answers. `unknownBody` finds bodies that the recording has not.
 * Writer ids are numbered in the order of processing, which may differ from the recorded one: they are translated.
 */
export async function replayConnection(server: TestServer, messages: readonly WireMessage[], unknownBody: (message: WireMessage) => Promise<Buffer>): Promise<ReplayedAnswer[]> {
  const answers: ReplayedAnswer[] = [];
  let session: { h2: ClientHttp2Session; socket: Duplex } | null = null;
  const wids = new Map<number, number>();
  for (const message of messages) {
    const body = message.body === undefined ? undefined : (wireBytes(message.body) ?? (await unknownBody(message)));
    const [method, target] = message.request.split(' ', 2) as [string, string];
    if (message.status === 101 || (message.as !== undefined && /\/(?:backup|reader)\?/.test(target))) {
      const answer = await server.upgrade(message.as!, target, target.includes('/backup?') ? 'proxmox-backup-protocol-v1' : 'proxmox-backup-reader-protocol-v1');
      if (answer instanceof Duplex) {
        session = { h2: await h2ClientOn(answer), socket: answer };
        answers.push({ message, status: 101, type: undefined, body: Buffer.alloc(0) });
      } else {
        answers.push({ message, status: answer.status, type: answer.headers['content-type'], body: answer.body });
      }
    } else if (message.as === undefined) {
      assert.ok(session !== null, 'a request of a session without one');
      const sent = translated(target, body, wids);
      const answer = await h2Request(session.h2, method, sent.target, {
        headers: message.contentType === undefined ? {} : { 'content-type': message.contentType },
        ...(sent.body === undefined ? {} : { body: sent.body }),
      });
      if (/\/(?:fixed|dynamic)_index\?/.test(target) && answer.status === 200) wids.set(dataOf(wireBytes(message.reply!)!), dataOf(answer.body));
      answers.push({ message, status: answer.status, type: answer.headers['content-type'], body: answer.body });
    } else {
      const answer = await restRequest(server.port, message, method, target, body);
      answers.push({ message, ...answer });
    }
  }
  if (session !== null) {
    session.h2.close();
    if (!session.socket.closed) await once(session.socket, 'close');
  }
  return answers;
}

function dataOf(reply: Buffer): number {
  return (JSON.parse(reply.toString('utf8')) as { data: number }).data;
}

function translated(target: string, body: Buffer | undefined, wids: ReadonlyMap<number, number>): { target: string; body: Buffer | undefined } {
  const number = (wid: string): string => String(wids.get(Number(wid)) ?? wid);
  return {
    target: target.replace(/(?<=[?&]wid=)\d+/, number),
    body: body !== undefined && target.endsWith('_index') ? Buffer.from(body.toString('utf8').replace(/(?<="wid":)\d+/, number)) : body,
  };
}

async function restRequest(port: number, message: WireMessage, method: string, target: string, body: Buffer | undefined): Promise<Omit<ReplayedAnswer, 'message'>> {
  const headers = { authorization: message.as!, ...(message.contentType === undefined ? {} : { 'content-type': message.contentType }) };
  const request = httpRequest({ port, host: '127.0.0.1', method, path: target, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode!, type: response.headers['content-type'], body: await buffer(response) };
}
