import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { joinNamespace, maxNamespaceDepth, namespaceDepth, parentNamespace, parseNamespace } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { giveToFileOwner } from './file-owner.ts';
import { syncDirectory } from './replace-file.ts';
import { toStoreError } from './store-error.ts';

/** The reference's words for a namespace that is not there (spec rest-api 10.2). */
export function namespaceMissing(store: Datastore, namespace: string): StoreError {
  return new StoreError('store.namespace-missing', 'ENOENT: No such file or directory', {
    hint: `there is no namespace '${namespace}' in datastore '${store.name}'`,
  });
}

/** A namespace exists if its directory does; the root always does. */
export async function namespaceExists(store: Datastore, namespace: string): Promise<boolean> {
  if (namespace === '') return true;
  try {
    return (await stat(store.namespacePath(namespace))).isDirectory();
  } catch (e) {
    if (errorCode(e) === 'ENOENT' || errorCode(e) === 'ENOTDIR') return false;
    throw toStoreError(e, `unable to look for namespace '${namespace}'`);
  }
}

/** Throws StoreError `store.namespace-missing`. */
export async function requireNamespace(store: Datastore, namespace: string): Promise<void> {
  if (!(await namespaceExists(store, namespace))) throw namespaceMissing(store, namespace);
}

/**
 * `anchor` and what is below it, at most `maxDepth` levels (0 = the anchor alone, absent = all), a parent before its
 * children, brothers in byte order. Throws StoreError `store.namespace-missing` for the anchor, `store.layout` for a directory whose
 * name is not acceptable: skipping it would hide what it holds from garbage collection.
 */
export async function listNamespaces(store: Datastore, options: { anchor?: string; maxDepth?: number | undefined } = {}): Promise<string[]> {
  const anchor = options.anchor ?? '';
  await requireNamespace(store, anchor);
  const found: string[] = [];
  const walk = async (namespace: string, levels: number): Promise<void> => {
    found.push(namespace);
    if (levels === 0) return;
    for (const child of await childNamespaces(store, namespace)) await walk(child, levels - 1);
  };
  await walk(anchor, Math.min(options.maxDepth ?? maxNamespaceDepth, maxNamespaceDepth - namespaceDepth(anchor)));
  return found;
}

async function childNamespaces(store: Datastore, namespace: string): Promise<string[]> {
  const path = join(store.namespacePath(namespace), 'ns');
  let entries;
  try {
    entries = await readdir(path, { withFileTypes: true });
  } catch (e) {
    // Also a namespace that was removed during the walk.
    if (errorCode(e) === 'ENOENT') return [];
    throw toStoreError(e, `read dir "${path}"`);
  }
  const children: string[] = [];
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    try {
      children.push(joinNamespace(namespace, entry.name));
    } catch (e) {
      throw new StoreError('store.layout', `directory "${join(path, entry.name)}" is not a namespace`, { cause: e, hint: 'rename or remove the directory' });
    }
  }
  return children.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/**
 * Creates the last component; the parent must exist. False when the namespace was there already.
 */
export async function createNamespace(store: Datastore, namespace: string): Promise<boolean> {
  const checked = parseNamespace(namespace);
  const parent = parentNamespace(checked);
  if (parent === null) return false;
  await requireNamespace(store, parent);
  try {
    await makeDirectory(store, join(store.namespacePath(parent), 'ns'));
    return await makeDirectory(store, store.namespacePath(checked));
  } catch (e) {
    if (errorCode(e) === 'ENOENT') throw namespaceMissing(store, parent);
    throw toStoreError(e, `unable to create namespace '${checked}'`);
  }
}

/** A directory of the datastore tree, with its owner, on disk as far as `sync-level` asks for it; false when it was there. Throws what `mkdir` throws. */
export async function makeDirectory(store: Datastore, path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (e) {
    if (errorCode(e) === 'EEXIST') return false;
    throw e;
  }
  await giveToFileOwner(path);
  if (store.tuning.syncLevel !== 'none') await syncDirectory(dirname(path));
  return true;
}

/**
 * Removes the namespace if it holds neither groups nor namespaces; false when something is left. Every step is an `rmdir`, which
 * takes nothing but empty directories, so what arrives meanwhile stays.
 */
export async function removeEmptyNamespace(store: Datastore, namespace: string): Promise<boolean> {
  if (namespace === '') throw new StoreError('store.root-namespace', 'Cannot create/delete root namespace!');
  const path = store.namespacePath(namespace);
  for (const part of ['vm', 'ct', 'host', 'ns', '']) {
    try {
      await rmdir(join(path, part));
    } catch (e) {
      const code = errorCode(e);
      if (code === 'ENOENT' || code === 'ENOTDIR') continue;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') {
        if (part === '') return false;
        continue;
      }
      throw toStoreError(e, `unable to remove namespace '${namespace}'`);
    }
  }
  return true;
}
