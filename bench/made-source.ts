import { join } from 'node:path';
import { forEachLimited } from '../src/base/async.ts';
import { createChunkStore } from '../src/datastore/chunk-store-layout.ts';
import { Datastore } from '../src/datastore/datastore.ts';
import { createNamespace } from '../src/datastore/namespaces.ts';
import { firstTime, makeSnapshot, noise } from '../test/support/made-snapshots.ts';

const mebibyte = 2 ** 20;
const day = 86_400;
const tinyChunk = 4096;
/** Groups that are written at a time. */
const parallelGroups = 8;

/** Images of virtual machines, with chunks of 4 MiB plain. */
export interface ImageContent {
  kind: 'images';
  groups: number;
  snapshots: number;
  /** Per snapshot. */
  chunks: number;
  /** Half of each chunk compresses to nothing. */
  compressed: boolean;
}

/** Many snapshots of one tiny index, with one chunk of its own and one of its group, and one tiny blob. */
export interface TinyContent {
  kind: 'tiny';
  /** Groups are spread over so many namespaces, the root included. */
  namespaces: number;
  groups: number;
  /** Per group. */
  snapshots: number;
}

export type SourceContent = ImageContent | TinyContent;

/** A whole datastore with nothing in it: all 65,536 folders, as a server makes it. */
export async function makeDatastore(path: string): Promise<void> {
  await createChunkStore(path);
}

/** Makes a datastore at `path` with this content; the same bytes each time. */
export async function makeSource(path: string, content: SourceContent): Promise<void> {
  await makeDatastore(path);
  using store = await Datastore.open({ name: 'main', path, locksRoot: `${path}-locks`, tuning: { syncLevel: 'none' } });
  if (content.kind === 'images') await makeImages(store, content);
  else await makeTiny(store, content);
}

async function makeImages(store: Datastore, content: ImageContent): Promise<void> {
  for (let group = 0; group < content.groups; group += 1) {
    for (let age = 0; age < content.snapshots; age += 1) {
      const chunks = Array.from({ length: content.chunks }, (_, i) => imageChunk(`${group}-${age}-${i}`, content.compressed));
      await makeSnapshot(store, '', { type: 'vm', id: `${100 + group}`, time: firstTime + age * day }, { files: { 'drive-scsi0.img.fidx': chunks }, compress: content.compressed });
    }
  }
}

function imageChunk(seed: string, compressed: boolean): Buffer {
  return compressed ? Buffer.concat([noise(seed, 2 * mebibyte), Buffer.alloc(2 * mebibyte, 'x')]) : noise(seed, 4 * mebibyte);
}

async function makeTiny(store: Datastore, content: TinyContent): Promise<void> {
  for (const namespace of tinyNamespaces(content)) if (namespace !== '') await createNamespace(store, namespace);
  const names = tinyNamespaces(content);
  await forEachLimited(Array.from({ length: content.groups }, (_, group) => group), parallelGroups, async (group) => {
    const ofGroup = noise(`group-${group}`, tinyChunk);
    for (let age = 0; age < content.snapshots; age += 1) {
      await makeSnapshot(store, names[group % names.length]!, { type: 'host', id: `host-${group}`, time: firstTime + age * 60 }, {
        files: { 'etc.pxar.didx': [ofGroup, noise(`${group}-${age}`, tinyChunk)], 'settings.conf.blob': [Buffer.from(`host ${group}, minute ${age}\n`)] },
      });
    }
  });
}

function tinyNamespaces({ namespaces }: TinyContent): string[] {
  return Array.from({ length: namespaces }, (_, i) => (i === 0 ? '' : `site-${i}`));
}

export function namespaceCount(content: SourceContent): number {
  return content.kind === 'tiny' ? content.namespaces : 1;
}

/** Where a target lies in the folder of a contestant. */
export function targetPath(folder: string): string {
  return join(folder, 'main');
}
