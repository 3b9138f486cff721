import { isAbsolute, join } from 'node:path';
import type { Variables } from './environment.ts';

/** Where the client's own files lie (spec client-cli 2.4). */
export interface UserFolders {
  /** Where files are written. */
  config: string;
  /** Where files are looked for, in this order. */
  configSearch: readonly string[];
  cache: string;
  /** Null: `XDG_RUNTIME_DIR` is not set. */
  runtime: string | null;
}

const prefix = 'proxmox-backup';

/** Relative paths in the variables are ignored, as the base directory specification asks. */
function folder(text: string | undefined): string | null {
  return text !== undefined && isAbsolute(text) ? text : null;
}

export function userFolders(variables: Variables, homeDirectory: string): UserFolders {
  const config = join(folder(variables['XDG_CONFIG_HOME']) ?? join(homeDirectory, '.config'), prefix);
  const more = (variables['XDG_CONFIG_DIRS'] || '/etc/xdg').split(':').flatMap((text) => folder(text) ?? []);
  const runtime = folder(variables['XDG_RUNTIME_DIR']);
  return {
    config,
    configSearch: [config, ...more.map((text) => join(text, prefix))],
    cache: join(folder(variables['XDG_CACHE_HOME']) ?? join(homeDirectory, '.cache'), prefix),
    runtime: runtime === null ? null : join(runtime, prefix),
  };
}
