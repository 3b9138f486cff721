import { StoreError } from '../../src/base/errors.ts';
import type { ChunkBackend } from '../../src/datastore/chunk-backend.ts';

export interface ChunkFault {
  method: keyof ChunkBackend;
  /** The n-th call of the method fails (1 = the first). */
  call: number;
  /** e.g. `store.full`, `store.read-only`, `store.io`. */
  code: string;
  /** The work is done, then the call fails, as when an answer is lost. */
  afterwards?: boolean;
}

/** A backend whose calls fail by script; everything else goes to `inner`. Returns the faults that have not happened yet, too. */
export function faultyChunkBackend(inner: ChunkBackend, script: readonly ChunkFault[]): { backend: ChunkBackend; pending: () => readonly ChunkFault[] } {
  const calls = new Map<string | symbol, number>();
  const pending = new Set(script);
  const backend = new Proxy(inner, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]): Promise<unknown> => {
        const call = (calls.get(name) ?? 0) + 1;
        calls.set(name, call);
        const fault = [...pending].find((one) => one.method === name && one.call === call);
        if (fault === undefined) return (await Reflect.apply(member, target, args)) as unknown;
        pending.delete(fault);
        if (fault.afterwards === true) await Reflect.apply(member, target, args);
        throw new StoreError(fault.code, `scripted: ${String(name)}, call ${call}`);
      };
    },
  });
  return { backend, pending: () => [...pending] };
}
