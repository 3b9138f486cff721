import assert from 'node:assert/strict';
import { chmod, chown } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import { makeFolders } from '../sys/make-folders.ts';
import { lookupUser } from '../sys/user.ts';

/** Numeric owner and group of a file. */
export interface FileOwner {
  uid: number;
  gid: number;
}

/** Where one server keeps its things (spec server 1). All paths are absolute. */
export interface InstallationPaths {
  /** Configuration files, keys, certificate. */
  config: string;
  /** What must survive a restart: job states, journals, spools. */
  state: string;
  log: string;
  /** May be lost at a restart. */
  run: string;
  /** Lock files of snapshots, groups and datastores. */
  locks: string;
  /** Task logs and lists. */
  tasks: string;
  jobStates: string;
  /** Can be made again from other data at any time. */
  cache: string;
  /**
   * The reference's service user `backup`, when its folders are used as root: files then get the reference's owners,
   * so that a reference server can take the folders back. Null: everything belongs to the running user.
   */
  serviceUser: FileOwner | null;
}

export interface InstallationQuestion {
  env: Readonly<Record<string, string | undefined>>;
  isRoot: boolean;
  homeDirectory: string;
  /** Only for tests; by default looked up when the reference's folders are used. */
  serviceUser?: FileOwner | null;
}

/** Everything below one folder. */
function installationIn(home: string): InstallationPaths {
  return {
    config: join(home, 'etc'),
    state: join(home, 'state'),
    log: join(home, 'log'),
    run: join(home, 'run'),
    locks: join(home, 'run', 'locks'),
    tasks: join(home, 'log', 'tasks'),
    jobStates: join(home, 'state', 'jobstates'),
    cache: join(home, 'state', 'cache'),
    serviceUser: null,
  };
}

/** The reference's folders (spec server 1). */
function referenceInstallation(serviceUser: FileOwner | null): InstallationPaths {
  return {
    config: '/etc/proxmox-backup',
    state: '/var/lib/proxmox-backup',
    log: '/var/log/proxmox-backup',
    run: '/run/proxmox-backup',
    locks: '/run/proxmox-backup/locks',
    tasks: '/var/log/proxmox-backup/tasks',
    jobStates: '/var/lib/proxmox-backup/jobstates',
    cache: '/var/cache/proxmox-backup',
    serviceUser,
  };
}

/**
 * `FARSHORE_HOME` holds everything when it is set; otherwise root uses the reference's folders and everybody else
 * `~/.farshore`. ConfigError `config.home` when the variable is not an absolute path.
 */
export function resolveInstallation(question: InstallationQuestion): InstallationPaths {
  const home = question.env['FARSHORE_HOME'];
  if (home !== undefined && home !== '') {
    if (!isAbsolute(home)) {
      throw new ConfigError('config.home', `FARSHORE_HOME '${home}' is not an absolute path`, { hint: 'set FARSHORE_HOME to a path that starts with /' });
    }
    return installationIn(home);
  }
  if (question.isRoot) return referenceInstallation(question.serviceUser === undefined ? lookupUser('backup') : question.serviceUser);
  assert.ok(isAbsolute(question.homeDirectory), 'the home directory is an absolute path');
  return installationIn(join(question.homeDirectory, '.farshore'));
}

/** Folders with their modes: the configuration and what leads to secrets is closed for others (spec server 1). */
function foldersOf(paths: InstallationPaths): Array<[path: string, mode: number]> {
  return [
    [paths.config, 0o700],
    [paths.state, 0o755],
    [paths.jobStates, 0o755],
    [paths.cache, 0o700],
    [paths.log, 0o755],
    [paths.tasks, 0o755],
    [join(paths.log, 'api'), 0o755],
    [paths.run, 0o755],
    [paths.locks, 0o755],
  ];
}

/** Makes the folders that are missing, with their modes and owners. Existing ones are left as they are, but for an open configuration folder, which is closed. */
export async function prepareInstallation(paths: InstallationPaths): Promise<void> {
  for (const [path, mode] of foldersOf(paths)) {
    let made: boolean;
    try {
      made = await makeFolders(path, mode);
    } catch (e) {
      throw new ConfigError('config.home', `cannot make the folder ${path}`, { cause: e, hint: `Give the user that runs this the right to write there, or set FARSHORE_HOME to another folder.` });
    }
    if (!made) {
      if (path === paths.config) await chmod(path, mode);
      continue;
    }
    await chmod(path, mode);
    if (paths.serviceUser !== null) await chown(path, paths.serviceUser.uid, paths.serviceUser.gid);
  }
}
