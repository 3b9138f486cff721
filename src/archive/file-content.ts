import { read as readWithCallback, readSync } from 'node:fs';
import { promisify } from 'node:util';
import type { ProgressLog } from '../base/log.ts';
import { shownPath } from './shown-path.ts';
import { sourceError, type SourceNode } from './source-node.ts';

/** Files up to this size are read at once, without leaving the thread. */
export const smallFile = 64 * 1024;
const pieceLength = 1024 * 1024;

const read = promisify(readWithCallback);

/**
 * Content of an open file in pieces, exactly as many bytes as its metadata says: what was added since is cut off, what is missing is filled
 * with zeros, both with a warning (spec pxar 5.4). StoreError `store.source` when it cannot be read.
 */
export async function* fileContent(node: SourceNode, log: ProgressLog): AsyncGenerator<Buffer, void, undefined> {
  try {
    if (node.size <= smallFile) yield* smallPieces(node.fd!, node, log);
    else yield* pieces(node, log);
  } catch (e) {
    throw sourceError(node.path, e);
  }
}

async function* pieces(node: SourceNode, log: ProgressLog): AsyncGenerator<Buffer, void, undefined> {
  const fd = node.fd!;
  const { size } = node;
  let at = 0;
  while (at < size) {
    // A piece is handed on and not used again.
    const piece = Buffer.allocUnsafeSlow(Math.min(pieceLength, size - at));
    const { bytesRead } = await read(fd, piece, 0, piece.length, at);
    if (bytesRead === 0) break;
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
  if (at < size) yield* padding(node, size - at, log);
  else if (readSync(fd, Buffer.alloc(1), 0, 1, size) > 0) warnGrown(node, log);
}

/** The same for a file of at most `smallFile` bytes, without leaving the thread. */
export function smallContent(node: SourceNode, log: ProgressLog): Iterable<Buffer> {
  try {
    // Mostly it is one piece.
    return [...smallPieces(node.fd!, node, log)];
  } catch (e) {
    throw sourceError(node.path, e);
  }
}

function* smallPieces(fd: number, node: SourceNode, log: ProgressLog): Generator<Buffer, void, undefined> {
  const { size } = node;
  // One byte more than there should be tells whether the file grew.
  const content = Buffer.allocUnsafe(size + 1);
  let at = 0;
  while (at <= size) {
    const count = readSync(fd, content, at, size + 1 - at, at);
    if (count === 0) break;
    at += count;
  }
  if (at > size) warnGrown(node, log);
  if (at > 0 && size > 0) yield content.subarray(0, Math.min(at, size));
  if (at < size) yield* padding(node, size - at, log);
}

function warnGrown({ path }: SourceNode, log: ProgressLog): void {
  log.warn(`file size increased while reading: ${shownPath(path)}, truncated`);
}

function* padding({ path }: SourceNode, missing: number, log: ProgressLog): Generator<Buffer, void, undefined> {
  log.warn(`file size shrunk while reading: ${shownPath(path)}, padded with zeros`);
  const zeros = Buffer.alloc(Math.min(missing, pieceLength));
  for (let left = missing; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
}
