import { ConfigError } from '../base/errors.ts';
import { shortFingerprint, type CryptConfig } from '../crypto/crypt-config.ts';
import { snapshotText, type BackupSnapshot } from '../format/backup-path.ts';
import type { ChunkIndex, IndexKind } from '../format/chunk-index.ts';
import { manifestFile, type Manifest, type ManifestFile } from '../format/manifest.ts';
import { splitFiles } from '../format/split-archive.ts';
import { ArchiveAccessor } from '../pxar/archive-accessor.ts';
import type { ReadAt } from '../pxar/payload-source.ts';
import type { Parameters } from '../terminal/command.ts';
import { parseSnapshotOrGroupPath } from './backup-paths.ts';
import { ChunkReader, type ChunkReaderOptions } from './chunk-reader.ts';
import { ChunkSource } from './chunk-source.ts';
import type { ClientContext } from './client-context.ts';
import { connect, givenNamespace, requiredRepository } from './connect.ts';
import { givenKey, openGivenKey } from './given-key.ts';
import { newestSnapshot } from './listings.ts';
import type { TreeFiles } from './restore-tree.ts';
import type { ServerConnection } from './server-connection.ts';
import { downloadIndex, downloadManifest, identityWarning, requireManifestKey } from './snapshot-contents.ts';
import { SteadyReader } from './steady-reader.ts';

/** The snapshot that a path names: of a group its newest one. */
export async function chosenSnapshot(context: ClientContext, connection: ServerConnection, ns: string, text: string): Promise<BackupSnapshot> {
  const path = parseSnapshotOrGroupPath(text);
  return 'snapshot' in path ? path.snapshot : newestSnapshot(connection, ns, path.group, context.stderr);
}

/** A snapshot whose archives are read at any place, for as long as it is open. */
export interface OpenSnapshot extends Disposable {
  readonly reader: SteadyReader;
  readonly manifest: Manifest;
  readonly crypt: CryptConfig | null;
  /** In log lines. */
  readonly shown: string;
}

/** Opens the snapshot that the command's `snapshot` names, with its key. Throws what connecting, the session and the manifest throw. */
export async function openSnapshot(context: ClientContext, given: Parameters, signal: AbortSignal): Promise<OpenSnapshot> {
  const { stderr } = context;
  const repository = await requiredRepository(context, given);
  const ns = givenNamespace(context, given);
  const text = given['snapshot'] as string;
  // What can be refused without asking anybody is refused first.
  parseSnapshotOrGroupPath(text);
  const key = await openGivenKey(context, await givenKey(context, given));
  const crypt = key?.crypt ?? null;
  const connection = await connect(context, repository, given, { signal });
  let reader: SteadyReader | null = null;
  try {
    const snapshot = await chosenSnapshot(context, connection, ns, text);
    reader = await SteadyReader.open({ open: async () => connection.openReader(ns, snapshot), stderr, pause: context.pause });
    const { manifest } = await downloadManifest(reader, crypt);
    const warning = identityWarning(manifest, snapshot);
    if (warning !== null) stderr.write(`${warning}\n`);
    if (manifest.signature !== null && key !== null) stderr.write(`${key.source.text}\nFingerprint: ${shortFingerprint(key.crypt.fingerprint)}\n`);
    requireManifestKey(manifest, crypt);
    const opened = reader;
    return {
      reader,
      manifest,
      crypt,
      shown: ns === '' ? snapshotText(snapshot) : `[${ns}]:${snapshotText(snapshot)}`,
      [Symbol.dispose]: () => {
        opened.close();
        connection.close();
      },
    };
  } catch (e) {
    reader?.close();
    connection.close();
    throw e;
  }
}

/** Index and reader of one file of the snapshot. */
export async function openChunks({ reader, crypt }: OpenSnapshot, kind: IndexKind, file: ManifestFile, options: ChunkReaderOptions): Promise<{ index: ChunkIndex; chunks: ChunkReader }> {
  const index = await downloadIndex(reader, kind, file);
  return { index, chunks: new ChunkReader(new ChunkSource({ reader, crypt: crypt ?? undefined, cryptMode: file.cryptMode }), index, options) };
}

/** The files of the directory tree `fileName`, one or the two of a split archive. ConfigError `config.archive-name` with the reference's text. */
export function treeFiles(manifest: Manifest, fileName: string): TreeFiles {
  const split = splitFiles(manifest, fileName);
  if (split !== null) return split;
  return { archive: requiredFile(manifest, fileName), payload: null };
}

/** ConfigError `config.archive-name` with the reference's text. */
export function requiredFile(manifest: Manifest, fileName: string): ManifestFile {
  const file = manifestFile(manifest, fileName);
  if (file !== undefined) return file;
  throw new ConfigError('config.archive-name', 'archive not found in manifest', { hint: `the snapshot holds: ${manifest.files.map(({ filename }) => filename).join(', ')}` });
}

/** A directory tree that is read at any place. */
export interface OpenTree {
  archive: ArchiveAccessor;
  /** Bytes of all its archives. */
  length: number;
}

/** Chunks that are kept of an archive; with four that are fetched ahead of who reads in sequence some 50 MiB. */
const chunksKept = 8;
const chunksAhead = 4;

/** Opens a directory tree; of its contents only what is asked for is fetched. `wrap`: put around everything that reads. */
export async function openTree(snapshot: OpenSnapshot, files: TreeFiles, wrap: (readAt: ReadAt) => ReadAt = (readAt) => readAt): Promise<OpenTree> {
  const options = { ahead: chunksAhead, aheadInSequence: true, kept: chunksKept };
  const { chunks } = await openChunks(snapshot, 'dynamic', files.archive, options);
  if (files.payload === null) return { archive: new ArchiveAccessor(wrap(chunks.readAt), chunks.length), length: chunks.length };
  const { chunks: payload } = await openChunks(snapshot, 'dynamic', files.payload, options);
  return { archive: new ArchiveAccessor(wrap(chunks.readAt), chunks.length, { readAt: wrap(payload.readAt), length: payload.length }), length: chunks.length + payload.length };
}
