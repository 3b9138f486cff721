import type { ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { EntryWriter } from './entry-writer.ts';
import type { SourceNode } from './source-node.ts';

/** Decides when and how the entries of a walk are written. Takes over what a node holds open. A promise where the walk has to wait: a microtask for each of millions of entries costs more than what is done for it. */
export interface EntryPlacement {
  /** True for a file under a name that is not the first: nothing but that is needed of it. */
  isKnown(inode: string | null): boolean;
  openDirectory(node: SourceNode): Promise<void> | void;
  closeDirectory(): Promise<void> | void;
  leaf(node: SourceNode): Promise<void> | void;
  /** `previous`: the same directory in the previous archive, null where there is none. */
  file(node: SourceNode, previous: ArchiveDirectory | null): Promise<void> | void;
  /** All entries were given. */
  finish(): Promise<void>;
  /** Closes what is still open, after an error. */
  dispose(): void;
}

/** Every entry is written when it comes. */
export class DirectPlacement implements EntryPlacement {
  readonly #writer: EntryWriter;

  constructor(writer: EntryWriter) {
    this.#writer = writer;
  }

  isKnown(inode: string | null): boolean {
    return this.#writer.hasInode(inode);
  }

  openDirectory(node: SourceNode): Promise<void> | void {
    return this.#writer.openDirectory(node);
  }

  closeDirectory(): Promise<void> | void {
    return this.#writer.closeDirectory();
  }

  leaf(node: SourceNode): Promise<void> | void {
    return this.#writer.leaf(node);
  }

  file(node: SourceNode): Promise<void> | void {
    return this.#writer.file(node);
  }

  async finish(): Promise<void> {}

  dispose(): void {}
}
