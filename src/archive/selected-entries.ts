import type { ArchiveEvent } from '../pxar/archive-decoder.ts';
import type { ArchiveAccessor, ArchiveChild, ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../pxar/archive-entry.ts';
import { evaluatePatterns, type MatchPattern } from '../pxar/match-pattern.ts';
import { joinPath } from './shown-path.ts';

type HardLink = Extract<ArchiveEntry, { type: 'hardlink' }>;

/**
 * What an extraction with `patterns` needs of an archive, as if its stream had been read: only the metadata of the rest is looked at, and none of its contents. A hard link
 * whose file is not selected comes as a file. Throws FormatError, and what reading throws.
 */
export class SelectedEntries {
  readonly #archive: ArchiveAccessor;
  readonly #patterns: readonly MatchPattern[];

  /** None: everything. */
  constructor(archive: ArchiveAccessor, patterns: readonly MatchPattern[]) {
    this.#archive = archive;
    this.#patterns = patterns;
  }

  async *events(): AsyncGenerator<ArchiveEvent, void, undefined> {
    const root = await this.#archive.root();
    yield { kind: 'entry', entry: root.entry };
    yield* this.#children(root, Buffer.alloc(0), this.#patterns.length === 0);
    yield { kind: 'directory-end' };
  }

  async *#children(directory: ArchiveDirectory, path: Buffer, isSelected: boolean): AsyncGenerator<ArchiveEvent, void, undefined> {
    for await (const child of directory.childrenInOrder()) {
      const { entry } = child;
      const childPath = joinPath(path, entry.name);
      const isChosen = this.#isSelected(childPath, entry.type === 'hardlink' ? null : entry.metadata.mode, isSelected);
      if (entry.type === 'directory') {
        if (!isChosen && !this.#mayMatchBelow(childPath)) continue;
        yield { kind: 'entry', entry };
        yield* this.#children(await this.#archive.open(child), childPath, isChosen);
        yield { kind: 'directory-end' };
      } else if (isChosen) {
        yield* entry.type === 'hardlink' ? this.#link(entry) : this.#leaf(child);
      }
    }
  }

  #isSelected(path: Buffer, mode: number | null, byDefault: boolean): boolean {
    const result = evaluatePatterns(this.#patterns, Buffer.concat([Buffer.of(0x2f), path]), () => mode);
    return result === null ? byDefault : result === 'include';
  }

  #mayMatchBelow(path: Buffer): boolean {
    const prefix = Buffer.concat([Buffer.of(0x2f), path, Buffer.of(0x2f)]);
    return this.#patterns.some(({ onlyPath }) => onlyPath === null || onlyPath.subarray(0, prefix.length).equals(prefix));
  }

  async *#leaf(child: ArchiveChild): AsyncGenerator<ArchiveEvent, void, undefined> {
    const { entry } = child;
    if (entry.type !== 'file') {
      yield { kind: 'entry', entry };
      return;
    }
    // The content follows, wherever it lies in the archive.
    yield { kind: 'entry', entry: { ...entry, payload: null } };
    for await (const bytes of this.#archive.content(child)) yield { kind: 'data', bytes };
    yield { kind: 'file-end' };
  }

  async *#link(link: HardLink): AsyncGenerator<ArchiveEvent, void, undefined> {
    if (await this.#isTargetSelected(link.targetPath)) {
      yield { kind: 'entry', entry: link };
      return;
    }
    const target = await this.#archive.follow(link);
    yield* this.#leaf({ ...target, entry: { ...target.entry, name: link.name } });
  }

  async #isTargetSelected(path: Buffer): Promise<boolean> {
    let isSelected = this.#patterns.length === 0;
    let at: ArchiveDirectory | null = await this.#archive.root();
    let above = Buffer.alloc(0);
    const names = path.toString('latin1').split('/');
    for (const [depth, name] of names.entries()) {
      above = Buffer.from(joinPath(above, Buffer.from(name, 'latin1')));
      const child: ArchiveChild | null = at === null ? null : await at.lookup(Buffer.from(name, 'latin1'));
      if (child === null || child.entry.type === 'hardlink') return false;
      isSelected = this.#isSelected(above, child.entry.metadata.mode, isSelected);
      at = child.entry.type === 'directory' && depth < names.length - 1 ? await this.#archive.open(child) : null;
    }
    return isSelected;
  }
}
