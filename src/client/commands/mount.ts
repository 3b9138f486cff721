import { realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Type } from 'typebox';
import { ConfigError, StoreError } from '../../base/errors.ts';
import { flag } from '../../config/schemas.ts';
import { fileTypes } from '../../pxar/entry-metadata.ts';
import { attachLoopDevice, detachLoopDevice, requireLoopDevices } from '../../sys/loop-device.ts';
import { parameters, type Properties } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotOrGroupPath } from '../backup-paths.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { requiredRepository } from '../connect.ts';
import { ArchiveFiles } from '../mount/archive-files.ts';
import { ImageFile } from '../mount/image-file.ts';
import { MappedImages } from '../mount/mapped-images.ts';
import { serveMount, type MountService } from '../mount/serve-mount.ts';
import { openChunks, openSnapshot, openTree, requiredFile, treeFiles, type OpenSnapshot } from '../open-snapshot.ts';
import { repositoryText } from '../repository.ts';
import { archiveFileName } from '../restore.ts';
import { systemErrorText } from '../system-error-text.ts';
import { keyOptions, targetOptions } from './options.ts';

const mountOptions: Properties = {
  ...targetOptions,
  keyfile: keyOptions['keyfile']!,
  verbose: flag('Verbose output and stay in foreground.', { default: false }),
};

const snapshotParameter = Type.String({ description: 'Group/Snapshot path.' });
const archiveParameter = Type.String({ description: 'Backup archive name.' });

/** Chunks that are kept of an image, and fetched ahead of who reads in sequence. */
const imageChunks = { ahead: 4, aheadInSequence: true, kept: 8 };

/** Server name of an archive that a command for `wanted` takes. ConfigError `config.archive-name` with the reference's text. */
function mountableName(text: string, wanted: 'tree' | 'image'): string {
  const fileName = archiveFileName(text);
  const isTree = /\.(?:pxar|mpxar|ppxar)\.didx$/.test(fileName);
  const isImage = fileName.endsWith('.img.fidx');
  const refuse = (message: string): never => {
    throw new ConfigError('config.archive-name', message);
  };
  if (!isTree && !isImage) return refuse('Can only mount/map pxar archives and drive images.');
  if (wanted === 'tree' && isImage) return refuse("use the 'map' command to map drive images");
  if (wanted === 'image' && isTree) return refuse("use the 'mount' command to mount pxar archives");
  return fileName;
}

/** Absolute path of the folder to mount on, links resolved. */
function mountTarget(text: string): string {
  let path: string;
  try {
    path = realpathSync(text);
  } catch (e) {
    throw new StoreError('store.fuse', `pxar mount failed: ${systemErrorText(e)}`, { hint: `make the folder first: mkdir ${text}` });
  }
  if (!statSync(path).isDirectory()) throw new StoreError('store.fuse', `pxar mount failed: '${text}' is not a directory`);
  return path;
}

/** In the foreground, or as a process of its own that goes on when this one has said that it works. */
async function inBackground(context: ClientContext, given: Parameters, work: (signal: AbortSignal) => Promise<void>): Promise<number> {
  if (given['verbose'] !== true && !context.background.isBackground) return context.background.start();
  await abortable(context.interrupts, work);
  return 0;
}

/** Tells whoever waits that the mount works. */
async function letGo(context: ClientContext): Promise<void> {
  if (context.background.isBackground) await context.background.letGo(join(context.folders.cache, 'mount.log'));
}

type Service = Omit<MountService, 'log' | 'searchPath' | 'signal'>;

async function serve(context: ClientContext, snapshot: OpenSnapshot, signal: AbortSignal, service: Service): Promise<void> {
  const { variables, stderr, clock } = context;
  // In a log file it is not seen when a line was written.
  const time = (): string => (context.background.isBackground ? `${new Date(clock.now()).toISOString()} ` : '');
  await serveMount({ ...service, signal, searchPath: variables['PATH'] ?? '', log: (line) => stderr.write(`${time()}error reading from ${snapshot.shown}: ${line}\n`) });
}

const mount: ClientCommand = {
  words: ['mount'],
  description: 'Mount pxar archive.',
  parameters: parameters({ snapshot: snapshotParameter, 'archive-name': archiveParameter, target: Type.String({ description: 'Target directory path.' }) }, mountOptions),
  positional: ['snapshot', 'archive-name', 'target'],
  run: async (context, given) => {
    await requiredRepository(context, given);
    const fileName = mountableName(given['archive-name'] as string, 'tree');
    parseSnapshotOrGroupPath(given['snapshot'] as string);
    const target = mountTarget(given['target'] as string);
    return inBackground(context, given, async (signal) => {
      using snapshot = await openSnapshot(context, given, signal);
      const tree = await openTree(snapshot, treeFiles(snapshot.manifest, fileName));
      // A damaged root is seen before anybody looks.
      await tree.archive.root();
      await serve(context, snapshot, signal, { files: new ArchiveFiles(tree), target, rootMode: fileTypes.directory, onReady: () => letGo(context) });
    });
  },
};

const map: ClientCommand = {
  words: ['map'],
  description: "Map a drive image from a VM backup to a local loopback device. Use 'unmap' to undo.\nWARNING: Only do this with *trusted* backups!",
  parameters: parameters({ snapshot: snapshotParameter, 'archive-name': archiveParameter }, mountOptions),
  positional: ['snapshot', 'archive-name'],
  run: async (context, given) => {
    const repository = await requiredRepository(context, given);
    const fileName = mountableName(given['archive-name'] as string, 'image');
    parseSnapshotOrGroupPath(given['snapshot'] as string);
    requireLoopDevices();
    const name = `${repositoryText(repository)}:${given['snapshot'] as string}/${fileName.replace(/\.fidx$/, '')}`;
    return inBackground(context, given, async (signal) => {
      using snapshot = await openSnapshot(context, given, signal);
      const { chunks } = await openChunks(snapshot, 'fixed', requiredFile(snapshot.manifest, fileName), imageChunks);
      const { path, release } = await new MappedImages().reserve(name);
      try {
        const onReady = async (): Promise<() => Promise<void>> => {
          const device = await attachLoopDevice(path);
          context.stderr.write(`Image '${name}' mapped on ${device}\n`);
          await letGo(context);
          return async () => detachLoopDevice(device);
        };
        await serve(context, snapshot, signal, { files: new ImageFile(chunks, fileName), target: path, rootMode: fileTypes.file, onReady });
      } finally {
        release();
      }
    });
  },
};

const unmap: ClientCommand = {
  words: ['unmap'],
  description: "Unmap a loop device mapped with 'map' and release all resources.",
  parameters: parameters({}, { name: Type.String({ description: 'Archive name, path to loopdev (/dev/loopX) or loop device number. Omit to list all current mappings and force cleaning up leftover instances.' }) }),
  positional: ['name'],
  run: async ({ stdout }, given) => {
    const images = new MappedImages();
    const name = given['name'] as string | undefined;
    if (name !== undefined) {
      await images.unmap(name);
      return;
    }
    const mapped = await images.list();
    if (mapped.length === 0) stdout.write('Nothing mapped.\n');
    for (const image of mapped) stdout.write(`${image.device ?? '(unmapped)'}:\t${image.name}\n`);
  },
};

export const mountCommands: readonly ClientCommand[] = [mount, map, unmap];
