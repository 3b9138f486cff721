import { FuseRefusal, type FuseFileSystem } from '../../fuse/file-system.ts';
import type { FileSystemTotals, NodeAttributes } from '../../fuse/reply.ts';
import { rootNode } from '../../fuse/request.ts';
import { fileTypes } from '../../pxar/entry-metadata.ts';
import type { ReadAt } from '../../pxar/payload-source.ts';

/** A disk image as a file system that is one file. */
export class ImageFile implements FuseFileSystem {
  readonly #readAt: ReadAt;
  readonly #length: number;
  readonly #name: string;

  constructor(image: { readAt: ReadAt; length: number }, name: string) {
    this.#readAt = image.readAt;
    this.#length = image.length;
    this.#name = name;
  }

  lookup(): Promise<null> {
    return Promise.reject(new FuseRefusal('ENOTDIR'));
  }

  attributes(): Promise<NodeAttributes> {
    return Promise.resolve({ node: rootNode, mode: fileTypes.file, nlink: 1, uid: 0, gid: 0, size: this.#length, mtimeNs: 0n, device: null });
  }

  readlink(): Promise<Buffer> {
    return Promise.reject(new FuseRefusal('EINVAL'));
  }

  async read(_node: bigint, offset: number, length: number): Promise<readonly Buffer[]> {
    if (offset >= this.#length) return [];
    const bytes = await this.#readAt(offset, Math.min(length, this.#length - offset));
    return [Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)];
  }

  // oxlint-disable-next-line require-yield
  async *list(): AsyncGenerator<never, void, undefined> {
    throw new FuseRefusal('ENOTDIR');
  }

  xattrs(): Promise<[]> {
    return Promise.resolve([]);
  }

  totals(): FileSystemTotals {
    return { bytes: this.#length };
  }

  shown(): string {
    return this.#name;
  }
}
