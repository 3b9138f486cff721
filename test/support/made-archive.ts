import type { ArchiveEvent } from '../../src/pxar/archive-decoder.ts';
import { plainMetadata, type EntryMetadata } from '../../src/pxar/entry-metadata.ts';
import { encodeEvents } from './archive-events.ts';

/** A directory as an object: text is a file, objects are directories; the functions below make the rest. */
export interface MadeDirectory {
  [name: string]: string | MadeDirectory | MadeEntry;
}

export class MadeEntry {
  readonly events: (name: Buffer) => ArchiveEvent[];

  constructor(events: (name: Buffer) => ArchiveEvent[]) {
    this.events = events;
  }
}

export const madeTime = 1_600_000_000_123_456_789n;

/** Metadata of the user that runs the test. */
export function ownMetadata(mode: number, changes: Partial<EntryMetadata> = {}): EntryMetadata {
  return { ...plainMetadata({ mode, uid: process.getuid!(), gid: process.getgid!(), mtimeNs: madeTime }), ...changes };
}

const entry = (make: (name: Buffer) => Extract<ArchiveEvent, { kind: 'entry' }>['entry']): MadeEntry => new MadeEntry((name) => [{ kind: 'entry', entry: make(name) }]);

export const symlink = (target: string): MadeEntry => entry((name) => ({ type: 'symlink', name, position: 0, metadata: ownMetadata(0o120777), target: Buffer.from(target) }));
export const fifo = (mode = 0o10640): MadeEntry => entry((name) => ({ type: 'fifo', name, position: 0, metadata: ownMetadata(mode) }));
export const socket = (): MadeEntry => entry((name) => ({ type: 'socket', name, position: 0, metadata: ownMetadata(0o140600) }));
export const device = (major: number, minor: number): MadeEntry => entry((name) => ({ type: 'device', name, position: 0, metadata: ownMetadata(0o20600), major, minor }));
/** Of the file that `file` made with this `position`. */
export const hardlink = (position: number, targetPath: string): MadeEntry => entry((name) => ({ type: 'hardlink', name, position: 0, target: position, targetPath: Buffer.from(targetPath) }));
export const file = (content: string | Buffer, options: { position?: number; metadata?: Partial<EntryMetadata> } = {}): MadeEntry =>
  new MadeEntry((name) => [
    { kind: 'entry', entry: { type: 'file', name, position: options.position ?? 0, metadata: ownMetadata(0o100644, options.metadata), size: Buffer.from(content as string).length, payload: null } },
    { kind: 'data', bytes: Buffer.from(content as string) },
    { kind: 'file-end' },
  ]);

function directoryEvents(name: Buffer, content: MadeDirectory, metadata: EntryMetadata): ArchiveEvent[] {
  const events: ArchiveEvent[] = [{ kind: 'entry', entry: { type: 'directory', name, position: 0, metadata } }];
  for (const [childName, child] of Object.entries(content)) {
    const childBytes = Buffer.from(childName);
    if (typeof child === 'string') events.push(...file(child).events(childBytes));
    else if (child instanceof MadeEntry) events.push(...child.events(childBytes));
    else events.push(...directoryEvents(childBytes, child, ownMetadata(0o40755)));
  }
  return [...events, { kind: 'directory-end' }];
}

/** A unified archive of what `content` says. */
export function madeArchive(content: MadeDirectory, root: Partial<EntryMetadata> = {}): Buffer {
  return encodeEvents(directoryEvents(Buffer.alloc(0), content, ownMetadata(0o40755, root)), null).archive;
}
