import { FuseSession } from '../../fuse/session.ts';
import type { FuseFileSystem } from '../../fuse/file-system.ts';
import { mountFileSystem, type MountRequest } from '../../fuse/mount.ts';

export interface MountService extends MountRequest {
  files: FuseFileSystem;
  /** Log lines. */
  log: (line: string) => void;
  /** Called when the file system can be used. What it returns is called before it is taken away. */
  onReady: () => Promise<(() => Promise<void>) | void>;
  /** Ends the mount. */
  signal: AbortSignal;
}

/** A failing disk or line must not fill the log: a line that was there lately is not written again. */
const linesRemembered = 1000;

function withoutRepetition(log: (line: string) => void): (line: string) => void {
  const seen = new Set<string>();
  return (line) => {
    if (seen.has(line)) return;
    if (seen.size >= linesRemembered) seen.clear();
    seen.add(line);
    log(line);
  };
}

/**
 * Mounts and answers until somebody unmounts, or until `signal`, which unmounts: also under those who still use it. Throws StoreError `store.fuse`, and what
 * `onReady` throws.
 */
export async function serveMount(service: MountService): Promise<void> {
  const { files, log, onReady, signal } = service;
  const { device, unmount } = await mountFileSystem(service);
  await using _device = device;
  const session = new FuseSession(device, files, withoutRepetition(log));
  const running = session.run();
  // Whoever unmounted has done it: by now something else may be mounted there.
  let isMounted = true;
  running.then(
    () => (isMounted = false),
    // Whoever waits for it below hears of an error.
    () => {},
  );
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  try {
    await Promise.race([session.ready, aborted]);
    if (signal.aborted) return;
    const before = await onReady();
    try {
      await Promise.race([running, aborted]);
    } finally {
      await before?.();
    }
  } finally {
    if (isMounted) await unmount();
  }
}
