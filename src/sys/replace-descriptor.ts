import { checkedCall, libc } from './libc.ts';

/** `dup2(2)`: what `fd` stood for is closed, and it stands for what `source` is. Throws SystemCallError. */
export function replaceDescriptor(source: number, fd: number): void {
  checkedCall('dup2', undefined, () => libc.dup2(source, fd));
}
