import { readFileSync } from 'node:fs';
import { errorCode } from '../base/errors.ts';

/**
 * Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): together with the pid it names a process
 * for as long as the host runs. Null when there is no such process.
 */
export function processStartTicks(pid: number): number | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (e) {
    if (errorCode(e) === 'ENOENT' || errorCode(e) === 'ESRCH') return null;
    throw e;
  }
  // The second field is the command in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[22 - 3]);
  return Number.isSafeInteger(ticks) ? ticks : null;
}
