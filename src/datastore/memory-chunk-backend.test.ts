import { chunkBackendSuite } from '../../test/support/chunk-backend-suite.ts';
import { MemoryChunkBackend } from './memory-chunk-backend.ts';

chunkBackendSuite('memory', async () => {
  const backend = new MemoryChunkBackend();
  return {
    backend,
    names: async () => [...backend.stored.keys()],
    plant: async (name, bytes) => void backend.stored.set(name, { blob: Buffer.from(bytes), usedAt: 1, order: 0n }),
    setUsed: async (name, seconds) => void (backend.stored.get(name)!.usedAt = seconds),
    used: async (name) => backend.stored.get(name)!.usedAt,
    [Symbol.asyncDispose]: async () => {},
  };
});
