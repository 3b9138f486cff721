import { NetworkError } from '../base/errors.ts';

const timeoutMs = 10_000;

/** One GET, nothing of the answer is read and no redirection followed. NetworkError `net.heartbeat` for anything but 2xx within the time; its text has no more of the address than the host. */
export async function beat(url: string, signal?: AbortSignal): Promise<void> {
  const { host } = new URL(url);
  let response: Response;
  try {
    response = await fetch(url, { redirect: 'manual', signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])]), headers: { 'user-agent': 'farshore' } });
  } catch (e) {
    throw new NetworkError('net.heartbeat', `no answer from ${host}`, { cause: reasonOf(e) });
  }
  await response.body?.cancel();
  if (!response.ok) throw new NetworkError('net.heartbeat', `${host} answered ${response.status}`);
}

/** What fetch failed of, without the address. */
function reasonOf(e: unknown): Error {
  const cause = e instanceof Error && e.cause instanceof Error ? e.cause : e;
  return new Error(cause instanceof Error ? cause.message : 'failed');
}
