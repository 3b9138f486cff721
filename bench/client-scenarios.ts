import type { Measured } from './result.ts';
import type { TreeContent } from './client-source.ts';

const mebibyte = 2 ** 20;

/** A command of the backup client. */
export interface ClientStep {
  what: 'backup' | 'restore';
  archive: 'image' | 'tree';
  /** Of trees. */
  mode?: 'legacy' | 'metadata';
}

/** A backup or a restore: the client and our server share this host. */
export interface ClientScenario extends Measured {
  content: { imageBytes: number } | TreeContent;
  /** Not measured, before. */
  prepare: readonly ClientStep[];
  step: ClientStep;
  /** Bytes or files that the step is about. */
  amount: number;
}

const imageBackup: ClientStep = { what: 'backup', archive: 'image' };
const legacy: ClientStep = { what: 'backup', archive: 'tree', mode: 'legacy' };
const metadata: ClientStep = { what: 'backup', archive: 'tree', mode: 'metadata' };

export function clientScenarios(quick: boolean): ClientScenario[] {
  const imageBytes = (quick ? 64 : 1024) * mebibyte;
  const image = { content: { imageBytes }, measure: 'bytes', amount: imageBytes } as const;
  const small: TreeContent = { folders: quick ? 10 : 100, files: quick ? 100 : 1000, most: 4096 };
  const count = small.folders * small.files;
  const files = { content: small, measure: 'files', amount: count } as const;
  const largeFiles: TreeContent = { folders: 4, files: quick ? 4 : 64, least: 4 * mebibyte, most: 4 * mebibyte };
  const treeBytes = largeFiles.folders * largeFiles.files * 4 * mebibyte;
  const of = (bytes: number): string => `${bytes / mebibyte} MiB`;
  return [
    { name: 'backup-image', title: `an image of ${of(imageBytes)}, first time`, ...image, prepare: [], step: imageBackup },
    { name: 'backup-image-again', title: 'the same, unchanged', ...image, prepare: [imageBackup], step: imageBackup },
    { name: 'backup-files', title: `${count} small files in one archive with catalog, first time`, ...files, prepare: [], step: legacy },
    { name: 'backup-files-split', title: 'the same in change detection mode metadata', ...files, prepare: [], step: metadata },
    { name: 'backup-files-unchanged', title: 'the same, unchanged', ...files, prepare: [metadata], step: metadata },
    { name: 'restore-image', title: `an image of ${of(imageBytes)}`, ...image, prepare: [imageBackup], step: { what: 'restore', archive: 'image' } },
    { name: 'restore-tree', title: `a tree of ${of(treeBytes)} in files of 4 MiB`, content: largeFiles, measure: 'bytes', amount: treeBytes, prepare: [legacy], step: { what: 'restore', archive: 'tree', mode: 'legacy' } },
    { name: 'restore-files', title: `${count} small files`, ...files, prepare: [legacy], step: { what: 'restore', archive: 'tree', mode: 'legacy' } },
  ];
}
