import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { AbortedError } from '../../base/errors.ts';
import { humanSize } from '../../base/human-size.ts';
import { syncDirection, type SyncJobTable } from '../../config/job-config.ts';
import { datastoreName, flag, namespace, remoteName } from '../../config/schemas.ts';
import type { Diagnosis } from '../../protocol/diagnosis.ts';
import { diagnoseRemote, type RemoteDiagnosis, type RemoteUse } from '../../protocol/remote-diagnosis.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { remoteEndpoint, type RemoteParts } from '../remote-connection.ts';
import { maySeeSyncJob } from '../sync-permissions.ts';

export interface RemoteTestParts extends RemoteParts {
  access: AccessControl;
  /** What the remote is used for, when the caller does not say. */
  jobs: SyncJobTable;
}

/** One thing that was tried. */
interface Check {
  name: string;
  ok: boolean;
  detail?: string;
}

/** Answer of the test. */
export interface RemoteTest {
  ok: boolean;
  /** The one reason, in a sentence, and its stable name. */
  cause?: string;
  'cause-name'?: string;
  /** What mends it. */
  hint?: string;
  checks: Check[];
  fingerprint?: string;
  version?: string;
  'latency-ms'?: number;
  'bytes-per-second'?: number;
}

/** The whole test, however many datastores it looks at. */
const limitMs = 120_000;
/** Of a remote that very many jobs use in different ways the rest is left out, and the test says so. */
const maxUses = 16;
const maxNamedNamespaces = 10;

const stepNames: Readonly<Record<string, string>> = { name: 'name', tcp: 'connection', tls: 'certificate', login: 'login' };

/** `POST /config/remote/{name}/test`, which the reference does not have: what works, what does not, and what mends it. */
export function remoteTestEndpoints(parts: RemoteTestParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/config/remote/{name}/test',
      description: 'Connect to a remote and say what works, what does not, and what mends it. Without a datastore: all that sync jobs use it for.',
      parameters: Type.Object({
        name: remoteName,
        store: Type.Optional(datastoreName),
        ns: Type.Optional(namespace),
        'sync-direction': Type.Optional(syncDirection),
        'remove-vanished': Type.Optional(flag('As in the sync job: a push that removes needs more rights.', { default: false })),
      }),
      permission: { kind: 'privilege', path: '/remote/{name}', privileges: ['Remote.Audit'] },
      handler: async (given, caller): Promise<RemoteTest> => {
        const { name, store } = given;
        const uses = store === undefined ? usesOf(parts, caller.authId, name) : [useOf({ ...given, 'remote-store': store, 'remote-ns': given.ns })];
        return runTest(parts, name, uses);
      },
    }),
  ];
}

/** The part of a sync job that is about the remote. */
interface RemotePart {
  'remote-store': string;
  'remote-ns'?: string | undefined;
  'sync-direction'?: 'pull' | 'push' | undefined;
  'remove-vanished'?: boolean | undefined;
}

function useOf(job: RemotePart): RemoteUse {
  return { store: job['remote-store'], ns: job['remote-ns'] ?? '', direction: job['sync-direction'] ?? 'pull', removeVanished: job['remove-vanished'] ?? false };
}

/** Each different use by the jobs that the caller may see; one without a datastore when there is none. */
function usesOf({ jobs, access }: RemoteTestParts, authId: string, remote: string): RemoteUse[] {
  const visible = jobs.list().records.filter((job) => job.remote === remote && maySeeSyncJob(access, authId, job));
  const different = new Map(visible.map((job) => [JSON.stringify(useOf(job)), useOf(job)]));
  return different.size === 0 ? [{}] : [...different.values()];
}

async function runTest(parts: RemoteTestParts, name: string, uses: readonly RemoteUse[]): Promise<RemoteTest> {
  const endpoint = remoteEndpoint(parts, name);
  const signal = AbortSignal.timeout(limitMs);
  const test: RemoteTest = { ok: true, checks: [] };
  for (const [i, use] of uses.slice(0, maxUses).entries()) {
    let found: RemoteDiagnosis;
    try {
      found = await diagnoseRemote(endpoint, use, { remoteName: name, signal, ...(i === 0 ? {} : { measureMs: 0 }) });
    } catch (e) {
      if (!(e instanceof AbortedError) || !signal.aborted) throw e;
      fail(test, { cause: 'stalled', detail: `the test did not end within ${limitMs / 1000} s`, hint: 'the line or the remote hangs: run it again, and look at the load of both' });
      break;
    }
    if (i === 0) describeConnection(test, found);
    describeUse(test, use, found);
    // The next one would fail in the same place.
    if (found.problem !== undefined && found.steps.some((step) => !step.ok)) break;
  }
  if (uses.length > maxUses) test.checks.push({ name: 'more', ok: true, detail: `${uses.length - maxUses} further uses by sync jobs were not tested` });
  return test;
}

function fail(test: RemoteTest, problem: Diagnosis): void {
  test.ok = false;
  // One cause: the first.
  if (test.cause !== undefined) return;
  test.cause = problem.detail;
  test['cause-name'] = problem.cause;
  if (problem.hint !== undefined) test.hint = problem.hint;
}

function describeConnection(test: RemoteTest, found: RemoteDiagnosis): void {
  for (const { step, ok, detail } of found.steps) test.checks.push({ name: stepNames[step] ?? step, ok, detail });
  if (found.fingerprint !== undefined) test.fingerprint = found.fingerprint;
  if (found.version !== undefined) test.version = found.version;
  if (found.latencyMs !== undefined) {
    test['latency-ms'] = Math.round(found.latencyMs * 10) / 10;
    test.checks.push({ name: 'latency', ok: true, detail: `${test['latency-ms']} ms for a small request` });
  }
  if (found.bytesPerSecond !== undefined) {
    test['bytes-per-second'] = Math.round(found.bytesPerSecond);
    test.checks.push({ name: 'rate', ok: true, detail: `${humanSize(found.bytesPerSecond)}/s over one connection` });
  } else if (found.notMeasured !== undefined) {
    test.checks.push({ name: 'rate', ok: true, detail: `not measured: ${found.notMeasured}` });
  }
}

function describeUse(test: RemoteTest, use: RemoteUse, found: RemoteDiagnosis): void {
  const { problem } = found;
  const connected = found.steps.every((step) => step.ok);
  if (connected) test.checks.push({ name: useName(use), ok: problem === undefined, detail: problem?.detail ?? whatIsThere(use, found) });
  for (const { detail, hint } of found.warnings) {
    const text = hint === undefined ? detail : `${detail}; ${hint}`;
    if (!test.checks.some((check) => check.detail === text)) test.checks.push({ name: 'warning', ok: true, detail: text });
  }
  if (problem !== undefined) fail(test, problem);
}

function useName({ store, ns = '', direction = 'pull' }: RemoteUse): string {
  if (store === undefined) return 'datastores';
  return `${direction} ${direction === 'push' ? 'to' : 'from'} ${ns === '' ? store : `${store}:${ns}`}`;
}

function whatIsThere(use: RemoteUse, found: RemoteDiagnosis): string {
  if (use.store === undefined) return `visible: ${(found.stores ?? []).join(', ')}`;
  const groups = found.groupCount ?? 0;
  const below = (found.namespaces ?? []).filter((ns) => ns !== '' && (use.ns === undefined || use.ns === '' || ns.startsWith(`${use.ns}/`)));
  const named = below.slice(0, maxNamedNamespaces).join(', ');
  const more = below.length > maxNamedNamespaces ? ` and ${below.length - maxNamedNamespaces} more` : '';
  return `${groups} group${groups === 1 ? '' : 's'}, ${below.length} namespace${below.length === 1 ? '' : 's'}${named === '' ? '' : `: ${named}${more}`}`;
}
