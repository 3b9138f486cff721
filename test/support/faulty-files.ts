import type { FileHandle } from 'node:fs/promises';
import { nodeFileCalls, type FileCalls } from '../../src/datastore/replace-file.ts';

export interface FaultyFileCalls {
  calls: FileCalls;
  /** Whether the scripted failure has happened. */
  fired(): boolean;
}

const handleCalls = new Set<string | symbol>(['write', 'sync', 'datasync', 'chmod', 'chown', 'close', 'truncate']);

/**
 * File calls of which the `failAt`-th (1 = the first; calls on opened files count too) fails with `errno`. A failing write stores half of
 * its data first, as a full disk does; a failing close closes. Removing is not counted: it is the way out.
 */
export function faultyFileCalls(script: { failAt: number; errno: string }): FaultyFileCalls {
  let count = 0;
  const failsNow = (): boolean => {
    count += 1;
    return count === script.failAt;
  };
  const failure = (call: string): Error => Object.assign(new Error(`${script.errno}: scripted, ${call}`), { code: script.errno });

  const wrap = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        if (!handleCalls.has(name)) return member.bind(target) as unknown;
        return async (...args: unknown[]): Promise<unknown> => {
          if (!failsNow()) return (await Reflect.apply(member, target, args)) as unknown;
          if (name === 'write') {
            const [data, at = 0, length = 0] = args as [Uint8Array, number?, number?];
            await target.write(data, at, Math.floor(length / 2));
          }
          if (name === 'close') await target.close();
          throw failure(String(name));
        };
      },
    });

  return {
    fired: () => count >= script.failAt,
    calls: {
      async open(path, flags, mode) {
        if (failsNow()) throw failure('open');
        return wrap(await nodeFileCalls.open(path, flags, mode));
      },
      async rename(from, to) {
        if (failsNow()) throw failure('rename');
        await nodeFileCalls.rename(from, to);
      },
      unlink: (path) => nodeFileCalls.unlink(path),
    },
  };
}
