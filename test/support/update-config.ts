/** Child process of config-file.test.ts: adds `count` prune jobs named `{prefix}-{n}` to the installation in FARSHORE_HOME, one by one. */
import { pruneJobTable } from '../../src/config/job-config.ts';
import { resolveInstallation } from '../../src/config/home.ts';
import { armFailpointsFromText } from '../../src/base/failpoint.ts';

const [prefix, count, failpoints] = process.argv.slice(2);
armFailpointsFromText(failpoints ?? '');
const jobs = pruneJobTable(resolveInstallation({ env: process.env, isRoot: false, homeDirectory: '/nowhere' }));
for (let i = 0; i < Number(count); i += 1) await jobs.create({ id: `${prefix}-${i}`, store: 'store1', schedule: 'daily' });
