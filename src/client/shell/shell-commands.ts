import { Type } from 'typebox';
import { throwIfAborted } from '../../base/async.ts';
import { ConfigError, FormatError, StoreError } from '../../base/errors.ts';
import { extractEvents } from '../../archive/extract-archive.ts';
import { SelectedEntries } from '../../archive/selected-entries.ts';
import { flag } from '../../config/schemas.ts';
import { fileTypes } from '../../pxar/entry-metadata.ts';
import { evaluatePatterns, MatchPattern } from '../../pxar/match-pattern.ts';
import { parameters } from '../../terminal/command-parameters.ts';
import { debugText } from '../debug-text.ts';
import { bytesOfText, textOfBytes } from './byte-text.ts';
import type { ShellCommand, ShellContext } from './shell-context.ts';
import { pathBytes, type ShellPath } from './shell-tree.ts';
import { statText } from './stat-text.ts';

const pathParameter = Type.String({ description: 'target path.' });
const targetParameter = Type.String({ description: 'target path for restore on local filesystem.' });
const patternParameter = Type.String({ pattern: '^.+[^\\\\]$', description: 'Path or match pattern for matching filenames.' });

function quoted(bytes: Uint8Array): string {
  return `"${debugText(bytes)}"`;
}

/** StoreError `store.shell` with the reference's text when there is nothing. */
async function existing({ state }: ShellContext, text: string, follow: boolean): Promise<ShellPath> {
  const bytes = bytesOfText(text);
  const found = await state.tree.find(state.directory, bytes, follow);
  if (found === null) throw new StoreError('store.shell', `no such file or directory: ${quoted(bytes)}`);
  return found;
}

const pwd: ShellCommand = {
  words: ['pwd'],
  description: 'List the current working directory.',
  parameters: parameters({}),
  positional: [],
  run: async (context) => context.line(quoted(pathBytes(context.state.directory))),
};

const cd: ShellCommand = {
  words: ['cd'],
  description: 'Change the current working directory to the new directory',
  parameters: parameters({}, { path: pathParameter }),
  positional: ['path'],
  completesPath: 'directory',
  run: async (context, given) => {
    const { state } = context;
    const text = given['path'] as string | undefined;
    const path = text === undefined ? state.tree.root : await existing(context, text, false);
    if (path.at(-1)!.type === 'l') throw new StoreError('store.shell', 'target is a symlink', { hint: '`stat` shows where it leads' });
    if (path.at(-1)!.type !== 'd') throw new StoreError('store.shell', 'not a directory');
    state.directory = path;
  },
};

const ls: ShellCommand = {
  words: ['ls'],
  description: 'List the content of working directory or given path.',
  parameters: parameters({}, { path: pathParameter }),
  positional: ['path'],
  completesPath: 'entry',
  run: async (context, given) => {
    const { state } = context;
    const text = given['path'] as string | undefined;
    const last = (text === undefined ? state.directory : await existing(context, text, true)).at(-1)!;
    const entries = last.type === 'd' ? await state.tree.entries(last) : [last];
    for (const { name } of entries) {
      throwIfAborted(context.signal);
      await context.line(name);
    }
  },
};

const stat: ShellCommand = {
  words: ['stat'],
  description: 'Read the metadata for a given directory entry.\n\nThis is expensive because the data has to be read from the pxar archive, which means reading\nover the network.',
  parameters: parameters({ path: pathParameter }),
  positional: ['path'],
  completesPath: 'entry',
  run: async (context, given) => {
    const { tree } = context.state;
    const path = await existing(context, given['path'] as string, false);
    const found = await tree.stat(path);
    const { entry } = found;
    const isLink = entry.type === 'hardlink';
    // A hard link is shown as what it is another name of.
    const node = isLink ? (await tree.archive.follow(entry)).entry : entry;
    if (node.type === 'hardlink') throw new FormatError('format.pxar', 'archive: hard link to a hard link');
    const target = isLink ? entry.targetPath : node.type === 'symlink' ? node.target : null;
    await context.line(statText({ entry: node, path: pathBytes(path), target }, context.timeZone).replace(/\n$/, ''));
  },
};

const select: ShellCommand = {
  words: ['select'],
  description: 'Select an entry for restore.\n\nThis will return an error if the entry is already present in the list or\nif an invalid path was provided.',
  parameters: parameters({ path: pathParameter }),
  positional: ['path'],
  completesPath: 'entry',
  run: async (context, given) => {
    const { selected } = context.state;
    const path = pathBytes(await existing(context, given['path'] as string, false));
    const key = textOfBytes(path);
    if (selected.has(key)) {
      await context.line(`path already selected: ${quoted(path)}`);
      return;
    }
    selected.set(key, MatchPattern.literal(path, 'include'));
    await context.line(`added path: ${quoted(path)}`);
  },
};

const deselect: ShellCommand = {
  words: ['deselect'],
  description: 'Deselect an entry for restore.\n\nThis will return an error if the entry was not found in the list of entries\nselected for restore.',
  parameters: parameters({ path: Type.String({ description: 'path to entry to remove from list.' }) }),
  positional: ['path'],
  completesPath: 'entry',
  run: async (context, given) => {
    const { selected } = context.state;
    const text = given['path'] as string;
    // A pattern of `find --select` is named by its text.
    const path = selected.has(text) ? bytesOfText(text) : pathBytes(await existing(context, text, false));
    const wasThere = selected.delete(textOfBytes(path));
    await context.line(`${wasThere ? 'removed path from selection' : 'path not selected'}: ${quoted(path)}`);
  },
};

const clearSelected: ShellCommand = {
  words: ['clear-selected'],
  description: 'Clear the list of files selected for restore.',
  parameters: parameters({}),
  positional: [],
  run: async (context) => {
    context.state.selected.clear();
    await context.line('cleared selection');
  },
};

/** The root stands for everything, which no pattern does. */
function patternsOf(selected: ReadonlyMap<string, MatchPattern>): readonly MatchPattern[] {
  return selected.has('/') ? [] : [...selected.values()];
}

/** Writes what `patterns` match, and says whether that was anything (spec catalog 5.3). */
async function showMatches(context: ShellContext, patterns: readonly MatchPattern[]): Promise<boolean> {
  const { tree } = context.state;
  let hasMatched = false;
  const result = (path: ShellPath): 'include' | 'exclude' | null => {
    const { type } = path.at(-1)!;
    // Of a hard link the catalog does not know what it is.
    return patterns.length === 0 ? 'include' : evaluatePatterns(patterns, pathBytes(path), () => (type === 'h' ? null : type === 'd' ? fileTypes.directory : fileTypes.file));
  };
  for await (const path of tree.walk((folder) => folder.length === 1 || result(folder) !== 'exclude')) {
    throwIfAborted(context.signal);
    if (result(path) !== 'include') continue;
    hasMatched = true;
    await context.line(pathBytes(path));
  }
  return hasMatched;
}

const listSelected: ShellCommand = {
  words: ['list-selected'],
  description: 'List entries currently selected for restore.',
  parameters: parameters({}, { patterns: flag('List match patterns instead of the matching files.', { default: false }) }),
  positional: [],
  run: async (context, given) => {
    const { selected } = context.state;
    if (given['patterns'] === true) for (const text of selected.keys()) await context.line(quoted(bytesOfText(text)));
    else if (selected.size > 0) await showMatches(context, patternsOf(selected));
  },
};

/** ConfigError `config.pattern`. */
function includePattern(text: string): MatchPattern {
  try {
    return MatchPattern.parse(bytesOfText(text), 'include');
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    throw new ConfigError('config.pattern', `error parsing match pattern: ${e.message}`);
  }
}

const find: ShellCommand = {
  words: ['find'],
  description: 'Find entries in the catalog matching the given match pattern.',
  parameters: parameters({ pattern: patternParameter }, { select: flag('Add matching filenames to list for restore.', { default: false }) }),
  positional: ['pattern'],
  run: async (context, given) => {
    const text = given['pattern'] as string;
    const pattern = includePattern(text);
    const hasMatched = await showMatches(context, [pattern]);
    if (given['select'] === true && hasMatched) context.state.selected.set(text, pattern);
  },
};

/** Restores as the reference does: what is there stays, the first error ends it, the target itself keeps its metadata (spec client-cli 6). */
async function restore({ state, stderr, signal }: ShellContext, target: string, patterns: readonly MatchPattern[]): Promise<void> {
  const say = (message: string): void => stderr.write(`${message}\n`);
  await extractEvents(new SelectedEntries(state.tree.archive, patterns).events(), {
    target,
    patterns,
    allowExistingDirectories: true,
    rootMetadata: false,
    log: { debug: () => {}, info: say, warn: say, error: say },
    signal,
  });
}

const restoreSelected: ShellCommand = {
  words: ['restore-selected'],
  description: 'Restore the selected entries to the given target path.\n\nTarget must not exist on the clients filesystem.',
  parameters: parameters({ target: targetParameter }),
  positional: ['target'],
  run: async (context, given) => {
    const { selected } = context.state;
    if (selected.size === 0) throw new StoreError('store.shell', 'no entries selected', { hint: 'select some with `select <path>` or `find <pattern> --select`' });
    await restore(context, given['target'] as string, patternsOf(selected));
  },
};

const restoreTree: ShellCommand = {
  words: ['restore'],
  description:
    'Restore the sub-archive given by the current working directory to target.\n\nBy further providing a pattern, the restore can be limited to a narrower\nsubset of this sub-archive.\nIf pattern is not present or empty, the full archive is restored to target.',
  parameters: parameters({ target: targetParameter }, { pattern: patternParameter }),
  positional: ['target'],
  run: async (context, given) => {
    const pattern = given['pattern'] as string | undefined;
    await restore(context, given['target'] as string, pattern === undefined ? [] : [includePattern(pattern)]);
  },
};

const exit: ShellCommand = {
  words: ['exit'],
  description: 'Exit the shell',
  parameters: parameters({}),
  positional: [],
  run: (context) => {
    context.state.hasEnded = true;
    return Promise.resolve();
  },
};

/** Without `help`. */
export const shellCommands: readonly ShellCommand[] = [pwd, cd, ls, stat, select, deselect, clearSelected, listSelected, find, restoreSelected, restoreTree, exit];

