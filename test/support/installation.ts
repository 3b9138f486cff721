import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { prepareInstallation, resolveInstallation, type InstallationPaths } from '../../src/config/home.ts';

export const configFixtures = fileURLToPath(new URL('../fixtures/config', import.meta.url));

/** An empty installation in a temporary folder that goes away with the test; with `golden`, that recorded server's configuration in it. */
export async function temporaryInstallation(t: TestContext, golden?: 'source' | 'target'): Promise<InstallationPaths> {
  const home = await mkdtemp(join(tmpdir(), 'farshore-test-'));
  t.after(async () => {
    await rm(home, { recursive: true, force: true });
  });
  const paths = resolveInstallation({ env: { FARSHORE_HOME: home }, isRoot: false, homeDirectory: '/nowhere' });
  await prepareInstallation(paths);
  if (golden !== undefined) await cp(join(configFixtures, golden), paths.config, { recursive: true });
  return paths;
}
