import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'minor' | 'major'; execution: 'sync' }) => void;

/** Bytes of buffers that come and go between two collections. */
const bytesBetween = 32 * 1024 * 1024;
/** Bytes of buffers after a small collection that call for a large one: more than anybody here holds. */
const mostAfterMinor = 96 * 1024 * 1024;

let collect: Collect | null = null;
let bytes = 0;

function collector(): Collect {
  // Only a context that is made behind the flag has the function, and nobody else gets to see it.
  setFlagsFromString('--expose-gc');
  const found = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return found;
}

/**
 * To be told of the bytes of each chunk that went through. V8 collects when its own heap fills, in which a buffer of 4 MiB is a hundred bytes: a backup of 1 GiB was
 * seen to hold all of it in dead buffers. A small collection takes a millisecond or two, so one for every 32 MiB is some percent of a thread at most.
 */
export function buffersPassed(length: number): void {
  bytes += length;
  if (bytes < bytesBetween) return;
  bytes = 0;
  collect ??= collector();
  collect({ type: 'minor', execution: 'sync' });
  if (process.memoryUsage().arrayBuffers > mostAfterMinor) collect({ type: 'major', execution: 'sync' });
}
