import { lstatSync } from 'node:fs';
import type { ArchiveSinks, PayloadSink } from '../../archive/archive-sinks.ts';
import { createArchive } from '../../archive/create-archive.ts';
import { ConfigError, errorCode, FormatError, StoreError } from '../../base/errors.ts';
import { abortable } from '../../client/abortable.ts';
import { PipeTarget, RestoreTarget, type ByteTarget } from '../../client/restore-target.ts';
import { systemErrorText } from '../../client/system-error-text.ts';
import { MatchPattern } from '../../pxar/match-pattern.ts';
import { leveledLog } from '../../terminal/log-level.ts';
import { standardStream, type PxarIo } from './pxar-io.ts';

export interface CreateRequest {
  /** Path, or `-`. */
  archive: string;
  source: string;
  /** Of a split archive. */
  payload: string | null;
  exclude: readonly string[];
  entriesMax: number | undefined;
  allFileSystems: boolean;
  leaveOut: { xattrs: boolean; acls: boolean; fileCapabilities: boolean };
}

const archiveMode = 0o640;

function excludePattern(text: string): MatchPattern {
  try {
    return MatchPattern.parse(text, 'exclude');
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `error in exclude pattern: ${e.message}`);
  }
}

/** As the reference opens it: a link in the place of the directory is refused. */
function checkSource(path: string): void {
  const fail = (text: string): never => {
    throw new StoreError('store.source', `unable to open source directory ${JSON.stringify(path)}: ${text}`);
  };
  try {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) fail(systemErrorText({ code: 'ELOOP' }));
    if (!stat.isDirectory()) fail(systemErrorText({ code: 'ENOTDIR' }));
  } catch (e) {
    if (errorCode(e) === 'store.source') throw e;
    fail(systemErrorText(e));
  }
}

function payloadSink(target: ByteTarget): PayloadSink {
  return {
    write: async (bytes) => target.write(bytes),
    suggest: () => {},
    inject: () => {
      throw new Error('nothing is reused without a previous archive');
    },
  };
}

/**
 * `pxar create` (spec client-cli 10). The files appear whole or not at all. ConfigError for wrong patterns, StoreError `store.source`, `store.target`, AbortedError, what
 * `createArchive` throws.
 */
export async function createPxar(request: CreateRequest, io: PxarIo): Promise<void> {
  const { leaveOut } = request;
  const patterns = request.exclude.map(excludePattern);
  if (request.payload === standardStream) throw new ConfigError('config.payload', 'the payload of a split archive needs a file', { hint: 'give --payload-output FILE; the archive itself may be -' });
  checkSource(request.source);
  await abortable(io.interrupts, async (signal) => {
    await using files = new AsyncDisposableStack();
    const open = async (path: string): Promise<RestoreTarget> => files.use(await RestoreTarget.create(path, undefined, archiveMode));
    const archive = request.archive === standardStream ? null : await open(request.archive);
    const payload = request.payload === null ? null : await open(request.payload);
    const output = archive ?? new PipeTarget(io.stdoutBytes);
    const sinks: ArchiveSinks = { archive: { write: async (bytes) => output.write(bytes) }, ...(payload === null ? {} : { payload: payloadSink(payload) }) };
    await createArchive({
      source: request.source,
      sinks,
      patterns,
      ...(request.allFileSystems ? { devices: 'all' as const } : {}),
      ...(request.entriesMax === undefined ? {} : { entriesMax: request.entriesMax }),
      features: { xattrs: !leaveOut.xattrs, acls: !leaveOut.acls, fileCapabilities: !leaveOut.fileCapabilities },
      log: leveledLog(io.stderr, io.logLevel),
      signal,
    });
    // The contents first: a metadata archive without them would be of no use.
    await payload?.commit();
    await archive?.commit();
  });
}
