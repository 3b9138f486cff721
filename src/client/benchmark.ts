import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { zstdCompressSync, zstdDecompressSync, constants } from 'node:zlib';
import { throwIfAborted } from '../base/async.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { generateKey } from '../crypto/key-file.ts';
import { encodeBlob, verifyChunk } from '../format/data-blob.ts';
import type { BackupClient } from '../protocol/backup-client.ts';
import type { TextSink } from '../terminal/output.ts';

/** How fast this host and the line are (spec client-cli 9). */

const uploadBytes = 4 * 1024 * 1024;
const uploadsAtATime = 8;
const dataBytes = 1024 * 1024;
const turnMs = 100;

export const measureNames = ['tls', 'sha256', 'compress', 'decompress', 'verify', 'aes256_gcm'] as const;
export type MeasureName = (typeof measureNames)[number];

/** Bytes a second of each measure on a fast host of 2020, to compare with. */
export const tops: Readonly<Record<MeasureName, number>> = { tls: 1235e6, sha256: 2022e6, compress: 752e6, decompress: 1198e6, verify: 758e6, aes256_gcm: 3645e6 };

/** Bytes a second; what is missing was not measured. */
export type Speeds = Partial<Record<MeasureName, number>>;

export interface BenchmarkParts {
  /** Null: the line is not measured. */
  client: BackupClient | null;
  crypt: CryptConfig | null;
  stderr: TextSink;
  signal: AbortSignal;
  /** All times by this factor; 1 by default. */
  scale?: number;
}

function speedText(speed: number): string {
  return `${(speed / 1e6).toFixed(2)} MB/s`;
}

/** Text that compresses about as well as that of real disks: part noise, part repetition. */
function sampleData(): Buffer {
  const data = Buffer.alloc(dataBytes);
  const noise = randomBytes(dataBytes / 2);
  for (let at = 0; at < dataBytes; at += 4096) data.set(noise.subarray(at / 2, at / 2 + 2048), at);
  return data;
}

async function measureUpload(client: BackupClient, { stderr, signal, scale = 1 }: BenchmarkParts): Promise<number> {
  const bytes = randomBytes(uploadBytes);
  const startMs = performance.now();
  const endMs = startMs + 5000 * scale;
  let uploaded = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() < endMs) {
      throwIfAborted(signal);
      await client.speedtest(bytes);
      uploaded += 1;
    }
  };
  await Promise.all(Array.from({ length: uploadsAtATime }, lane));
  const seconds = (performance.now() - startMs) / 1000;
  const speed = (uploaded * uploadBytes) / seconds;
  stderr.write(`Uploaded ${uploaded} chunks in ${Math.floor(seconds)} seconds.\nTime per request: ${Math.floor((seconds * 1e6) / uploaded)} microseconds.\nTLS speed: ${speedText(speed)}\n`);
  return speed;
}

/** Bytes a second of `work` on a megabyte, done again and again for so long. */
async function measure(seconds: number, { signal, scale = 1 }: BenchmarkParts, work: () => Promise<unknown> | void): Promise<number> {
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000 * scale;
  let done = 0;
  for (let turnEndMs = startMs + turnMs, now = startMs; now < endMs || done === 0; now = performance.now()) {
    const pending = work();
    if (pending !== undefined) await pending;
    done += dataBytes;
    if (now < turnEndMs) continue;
    throwIfAborted(signal);
    await nextTurn();
    turnEndMs = now + turnMs;
  }
  return (done / (performance.now() - startMs)) * 1000;
}

/** Measures everything, and says each result. Throws what the session throws, AbortedError. */
export async function runBenchmark(parts: BenchmarkParts): Promise<Speeds> {
  const { client, stderr } = parts;
  const speeds: Speeds = client === null ? {} : { tls: await measureUpload(client, parts) };
  const data = sampleData();
  const compressed = zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  const blob = encodeBlob(data, { compress: true });
  const digest = createHash('sha256').update(data).digest();
  const crypt = parts.crypt ?? new CryptConfig(generateKey());
  const tests: Array<[name: MeasureName, label: string, seconds: number, work: () => Promise<unknown> | void]> = [
    ['sha256', 'SHA256', 1, () => void createHash('sha256').update(data).digest()],
    ['compress', 'Compression', 3, () => void zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })],
    ['decompress', 'Decompress', 1, () => void zstdDecompressSync(compressed)],
    ['aes256_gcm', 'AES256/GCM', 1, () => void crypt.encrypt(data)],
    ['verify', 'Verify', 1, () => verifyChunk(blob, digest, dataBytes)],
  ];
  for (const [name, label, seconds, work] of tests) {
    const speed = await measure(seconds, parts, work);
    speeds[name] = speed;
    stderr.write(`${label} speed: ${speedText(speed)}\n`);
  }
  return speeds;
}

/** Cell of a measure: its speed, and how it compares. */
export function speedCell(name: MeasureName, speed: number | undefined): string {
  return speed === undefined ? 'not tested' : `${speedText(speed)} (${Math.round((speed / tops[name]) * 100)}%)`;
}
