import type { ReaderClient } from './reader-client.ts';

export interface SpeedResult {
  bytes: number;
  seconds: number;
  bytesPerSecond: number;
}

/**
 * Rate of one session: 1 MiB test bodies, `parallel` at a time, until `durationMs` is over or `maxBytes` are there.
 * The first body only warms the connection up. Throws what the reader throws.
 */
export async function measureSpeed(
  reader: ReaderClient,
  options: { durationMs?: number; maxBytes?: number; parallel?: number } = {},
): Promise<SpeedResult> {
  const { durationMs = 2000, maxBytes = 256 * 1024 * 1024, parallel = 16 } = options;
  await reader.speedtest();
  const startMs = performance.now();
  let bytes = 0;
  const worker = async (): Promise<void> => {
    while (bytes < maxBytes && performance.now() - startMs < durationMs) {
      const sample = await reader.speedtest();
      bytes += sample.bytes;
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: parallel }, worker));
  const failed = outcomes.find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  const seconds = Math.max((performance.now() - startMs) / 1000, 0.001);
  return { bytes, seconds, bytesPerSecond: bytes / seconds };
}
