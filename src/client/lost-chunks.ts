import { FormatError, HttpError } from '../base/errors.ts';

/** Chunks without which a restore goes on (the reference has these options for `recover index` of its debug tool, spec client-cli 9). */
export interface LostChunks {
  ignoreCorrupt: boolean;
  ignoreMissing: boolean;
}

/** What a server says of a chunk file that is not there. */
const notThere = /No such file or directory|not found/i;

export function salvages({ ignoreCorrupt, ignoreMissing }: LostChunks): boolean {
  return ignoreCorrupt || ignoreMissing;
}

/** Whether `e`, or what caused it, says that a chunk is lost and need not be there. */
export function isLostChunk(e: unknown, lost: LostChunks): boolean {
  for (let at = e; at instanceof Error; at = at.cause) {
    if (at instanceof FormatError && at.code === 'format.chunk') return lost.ignoreCorrupt;
    if (at instanceof HttpError && (at.status === 404 || (at.status === 400 && notThere.test(at.message)))) return lost.ignoreMissing;
  }
  return false;
}
