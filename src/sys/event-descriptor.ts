import { closeSync, writeSync } from 'node:fs';
import { checkedCall, libc } from './libc.ts';

/** eventfd(2): EFD_CLOEXEC | EFD_NONBLOCK. */
const flags = 0o2000000 | 0o4000;

/** A descriptor that becomes readable when it is told to: wakes a thread that waits in poll(2). */
export class EventDescriptor implements Disposable {
  readonly fd: number;

  constructor() {
    this.fd = checkedCall('eventfd', undefined, () => libc.eventfd(0, flags));
  }

  signal(): void {
    const one = Buffer.alloc(8);
    one.writeBigUInt64LE(1n);
    writeSync(this.fd, one);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
