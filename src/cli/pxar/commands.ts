import { Type } from 'typebox';
import { defaultEntriesMax } from '../../archive/create-archive.ts';
import { flag, wholeNumber } from '../../config/schemas.ts';
import { parameters, type Properties } from '../../terminal/command-parameters.ts';
import type { Command, Parameters } from '../../terminal/command.ts';
import type { ProgramContext } from '../../terminal/program.ts';
import { createPxar } from './create.ts';
import { extractPxar } from './extract.ts';
import { listPxar } from './list.ts';
import type { PxarIo } from './pxar-io.ts';

/** A command of `pxar`, on its own or within the manager. */
export type PxarCommand = Command<ProgramContext, unknown>;

const off = { default: false } as const;
const text = (description: string) => Type.String({ description });
const archive = { archive: text('Archive name.') };
/** Largest number of the reference; above 2^53 nobody counts. */
const anyNumber = Number.MAX_SAFE_INTEGER;

const leaveOutOptions: Properties = {
  'no-acls': flag('Ignore access control list entries.', off),
  'no-device-nodes': flag('Ignore device nodes.', off),
  'no-fcaps': flag('Ignore file capabilities.', off),
  'no-fifos': flag('Ignore fifos.', off),
  'no-sockets': flag('Ignore sockets.', off),
  'no-xattrs': flag('Ignore extended file attributes.', off),
};

function given(from: Parameters, name: string): string | null {
  return (from[name] as string | undefined) ?? null;
}

function list(from: Parameters, name: string): string[] {
  return (from[name] as string[] | undefined) ?? [];
}

function isOn(from: Parameters, name: string): boolean {
  return from[name] === true;
}

function create(io: () => PxarIo, words: readonly string[]): PxarCommand {
  return {
    words: [...words, 'create'],
    description: 'Create a new .pxar archive.',
    parameters: parameters(
      { ...archive, source: text('Source directory.') },
      {
        ...leaveOutOptions,
        'all-file-systems': flag('Include mounted sudirs.', off),
        'entries-max': wholeNumber('Max number of entries loaded at once into memory', { minimum: 0, maximum: anyNumber, default: defaultEntriesMax }),
        exclude: Type.Array(Type.String(), { description: 'List of paths or pattern matching files to exclude.' }),
        'payload-output': text("'ppxar' payload output data file to create split archive."),
      },
    ),
    positional: ['archive', 'source'],
    run: async (_context, p) =>
      createPxar(
        {
          archive: p['archive'] as string,
          source: p['source'] as string,
          payload: given(p, 'payload-output'),
          exclude: list(p, 'exclude'),
          entriesMax: p['entries-max'] as number | undefined,
          allFileSystems: isOn(p, 'all-file-systems'),
          leaveOut: { xattrs: isOn(p, 'no-xattrs'), acls: isOn(p, 'no-acls'), fileCapabilities: isOn(p, 'no-fcaps') },
        },
        io(),
      ),
  };
}

function extract(io: () => PxarIo, words: readonly string[]): PxarCommand {
  return {
    words: [...words, 'extract'],
    description: 'Extract an archive.',
    parameters: parameters(archive, {
      ...leaveOutOptions,
      target: text('Target directory'),
      'allow-existing-dirs': flag('Allows directories to already exist on restore.', off),
      'files-from': text('File containing match pattern for files to restore.'),
      overwrite: flag('overwrite already existing files, symlinks and hardlinks', off),
      'overwrite-files': flag('overwrite already existing files', off),
      'overwrite-hardlinks': flag('overwrite already existing entries by archives hardlink', off),
      'overwrite-symlinks': flag('overwrite already existing entries by archives symlink', off),
      pattern: Type.Array(Type.String({ pattern: '^.+[^\\\\]$' }), { description: 'Path or match pattern to limit files that get restored.' }),
      'payload-input': text("'ppxar' payload input data file to restore split archive."),
      'prelude-target': text('Path to restore pxar archive prelude to.'),
      strict: flag('Stop on errors. Otherwise most errors will simply warn.', off),
    }),
    positional: ['archive', 'target'],
    run: async (_context, p) => {
      const all = isOn(p, 'overwrite');
      const xattrs = !isOn(p, 'no-xattrs');
      await extractPxar(
        {
          archive: p['archive'] as string,
          target: given(p, 'target') ?? '.',
          payload: given(p, 'payload-input'),
          filesFrom: given(p, 'files-from'),
          patterns: list(p, 'pattern'),
          strict: isOn(p, 'strict'),
          allowExistingDirectories: isOn(p, 'allow-existing-dirs'),
          overwrite: { files: all || isOn(p, 'overwrite-files'), symlinks: all || isOn(p, 'overwrite-symlinks'), hardLinks: all || isOn(p, 'overwrite-hardlinks') },
          features: {
            xattrs,
            acls: !isOn(p, 'no-acls'),
            fileCapabilities: !isOn(p, 'no-fcaps'),
            devices: !isOn(p, 'no-device-nodes'),
            fifos: !isOn(p, 'no-fifos'),
            sockets: !isOn(p, 'no-sockets'),
          },
          preludeTarget: given(p, 'prelude-target'),
        },
        io(),
      );
    },
  };
}

function listCommand(io: () => PxarIo, words: readonly string[]): PxarCommand {
  return {
    words: [...words, 'list'],
    description: 'List the contents of an archive.',
    parameters: parameters(archive, { 'payload-input': text("'ppxar' payload input data file for split archive.") }),
    positional: ['archive'],
    run: async (_context, p) => listPxar(p['archive'] as string, given(p, 'payload-input'), io()),
  };
}

function mount(io: () => PxarIo, words: readonly string[]): PxarCommand {
  return {
    words: [...words, 'mount'],
    description: 'Mount the archive to the provided mountpoint via FUSE.',
    parameters: parameters(
      { ...archive, mountpoint: text('Mountpoint for the file system.') },
      { 'payload-input': text("'ppxar' payload input data file to restore split archive."), verbose: flag('Verbose output, running in the foreground (for debugging).', off) },
    ),
    positional: ['archive', 'mountpoint'],
    run: async (_context, p) => {
      const { mountPxar } = await import('./mount.ts');
      await mountPxar(p['archive'] as string, given(p, 'payload-input'), p['mountpoint'] as string, io());
    },
  };
}

/** The commands of `pxar` below `words`: archives without a server (spec client-cli 10). `io` is asked for by the one that runs. */
export function pxarCommands(io: () => PxarIo, words: readonly string[] = []): PxarCommand[] {
  return [create(io, words), extract(io, words), listCommand(io, words), mount(io, words)];
}
