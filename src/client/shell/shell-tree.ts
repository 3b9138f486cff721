import { typeLetter } from '../../archive/archive-listing.ts';
import { FormatError, StoreError } from '../../base/errors.ts';
import type { CatalogReader, CatalogEntry } from '../../format/catalog.ts';
import { ArchiveDirectory, type ArchiveAccessor, type ArchiveChild } from '../../pxar/archive-accessor.ts';
import { RecentlyUsed } from '../mount/recently-used.ts';

/** An entry of a directory as listings show it. */
export interface ShellEntry {
  name: Buffer;
  /** As in catalogs (spec catalog 1). */
  type: CatalogEntry['type'];
  /** Where the tree finds the directory. */
  position: number;
}

/** The names of an archive: from the catalog, or from the archive itself (spec client-cli 6). */
export interface NameTree {
  readonly root: ShellEntry;
  /** Entries of a directory, by name. */
  entries(directory: ShellEntry): Promise<readonly ShellEntry[]>;
}

const noName = Buffer.alloc(0);

/** Names of a catalog, which is quick to read but knows types only. */
export class CatalogNames implements NameTree {
  readonly root: ShellEntry;
  readonly #catalog: CatalogReader;

  private constructor(catalog: CatalogReader, root: number) {
    this.#catalog = catalog;
    this.root = { name: noName, type: 'd', position: root };
  }

  /** `archive`: server name. FormatError with the reference's text when the catalog does not have it. */
  static async open(catalog: CatalogReader, archive: string): Promise<CatalogNames> {
    const entries = await catalog.directory(await catalog.root());
    const found = entries.find(({ name, type }) => type === 'd' && name.toString() === archive);
    if (found === undefined || found.type !== 'd') throw new FormatError('format.catalog-path', 'archive not found in catalog');
    return new CatalogNames(catalog, found.position);
  }

  async entries({ position }: ShellEntry): Promise<readonly ShellEntry[]> {
    const entries = await this.#catalog.directory(position);
    return entries.map((entry) => ({ name: entry.name, type: entry.type, position: entry.type === 'd' ? entry.position : 0 })).sort((a, b) => a.name.compare(b.name));
  }
}

/** Names of the archive itself, of a split one its metadata. */
export class ArchiveNames implements NameTree {
  readonly root: ShellEntry;
  readonly #archive: ArchiveAccessor;

  private constructor(archive: ArchiveAccessor, root: ArchiveDirectory) {
    this.#archive = archive;
    this.root = { name: noName, type: 'd', position: root.end };
  }

  static async open(archive: ArchiveAccessor): Promise<ArchiveNames> {
    return new ArchiveNames(archive, await archive.root());
  }

  async entries({ position }: ShellEntry): Promise<readonly ShellEntry[]> {
    const directory = await this.#archive.directoryAt(position);
    const entries: ShellEntry[] = [];
    for await (const { entry, end } of directory.childrenInOrder()) {
      entries.push({ name: entry.name, type: typeLetter(entry), position: entry.type === 'directory' ? end : 0 });
    }
    return entries.sort((a, b) => a.name.compare(b.name));
  }
}

/** As many entries of listings as are kept for completion and the next command. */
const entriesKept = 200_000;
/** As the kernel. */
const maxLinks = 40;
const slash = Buffer.from('/');

/** An entry and those above it, the root first. */
export type ShellPath = readonly [ShellEntry, ...ShellEntry[]];

/** `/a/b`; `/` for the root. */
export function pathBytes(path: ShellPath): Buffer {
  if (path.length === 1) return slash;
  return Buffer.concat(path.slice(1).flatMap(({ name }) => [slash, name]));
}

function fail(message: string): never {
  throw new StoreError('store.shell', message);
}

/** Finds entries by what somebody types. */
export class ShellTree {
  readonly archive: ArchiveAccessor;
  readonly #names: NameTree;
  readonly #listings = new RecentlyUsed<number, readonly ShellEntry[]>(entriesKept);

  constructor(names: NameTree, archive: ArchiveAccessor) {
    this.#names = names;
    this.archive = archive;
  }

  get root(): ShellPath {
    return [this.#names.root];
  }

  async entries(directory: ShellEntry): Promise<readonly ShellEntry[]> {
    const kept = this.#listings.get(directory.position);
    if (kept !== undefined) return kept;
    const entries = await this.#names.entries(directory);
    this.#listings.set(directory.position, entries, entries.length + 1);
    return entries;
  }

  /**
   * What `text`, as bytes, leads to from `from`. Links on the way are followed, and the last one with `follow`; above the root is the root. Null: there is
   * nothing. StoreError `store.shell` for a way through something that is no directory, and for links in a circle.
   */
  async find(from: ShellPath, text: Buffer, follow: boolean): Promise<ShellPath | null> {
    let links = 0;
    let at: ShellPath = text[0] === 0x2f ? this.root : from;
    const todo = components(text);
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (name.equals(Buffer.from('.'))) continue;
      if (name.equals(Buffer.from('..'))) {
        if (at.length > 1) at = at.slice(0, -1) as unknown as ShellPath;
        continue;
      }
      const last = at.at(-1)!;
      if (last.type !== 'd') return fail('not a directory');
      const entry = (await this.entries(last)).find((one) => one.name.equals(name));
      if (entry === undefined) return null;
      if (entry.type !== 'l' || (todo.length === 0 && !follow)) {
        at = [...at, entry];
        continue;
      }
      links += 1;
      if (links > maxLinks) return fail('too many levels of symbolic links');
      const target = await this.#linkTarget([...at, entry]);
      if (target[0] === 0x2f) at = this.root;
      todo.unshift(...components(target));
    }
    return at;
  }

  /** The entry in the archive, with all its metadata; the root is its directory. */
  async stat(path: ShellPath): Promise<ArchiveChild | ArchiveDirectory> {
    const found = await this.archive.lookup(pathBytes(path));
    return found ?? fail(`the archive has no ${JSON.stringify(pathBytes(path).toString())}, which its catalog names`);
  }

  async #linkTarget(path: ShellPath): Promise<Buffer> {
    const found = await this.stat(path);
    return !(found instanceof ArchiveDirectory) && found.entry.type === 'symlink' ? found.entry.target : fail('the archive has no link where its catalog names one');
  }

  /** Everything below the root, a directory before what is in it. A directory of which `enter` says false is passed over. */
  async *walk(enter: (path: ShellPath) => boolean): AsyncGenerator<ShellPath, void, undefined> {
    const pending: ShellPath[] = [this.root];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (path.length > 1) yield path;
      const last = path.at(-1)!;
      if (last.type !== 'd' || !enter(path)) continue;
      const above = path;
      const entries = await this.entries(last);
      pending.push(...entries.toReversed().map((entry): ShellPath => [...above, entry]));
    }
  }
}

function components(path: Buffer): Buffer[] {
  return path
    .toString('latin1')
    .split('/')
    .filter((part) => part !== '')
    .map((part) => Buffer.from(part, 'latin1'));
}
