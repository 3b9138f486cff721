import type { Duplex } from 'node:stream';
import { NetworkError } from '../base/errors.ts';

/**
 * Server end of the upgrade (spec backup-protocol 2.2): writes the 101 reply and resolves with the same socket when the reply has
 * left, with `head` (what was read past the request) pushed back. Only then may the socket be given to an HTTP/2 session: with
 * a write in flight Node aborts the whole process. Rejects with NetworkError `net.closed` when the peer is gone.
 */
export async function acceptUpgrade(socket: Duplex, head: Buffer, protocol: string): Promise<Duplex> {
  await new Promise<void>((resolve, reject) => {
    const gone = (cause?: unknown): void => reject(new NetworkError('net.closed', 'connection closed during the upgrade', { cause }));
    const closed = (): void => gone();
    if (socket.destroyed || !socket.writable) {
      gone();
      return;
    }
    socket.once('close', closed);
    // The HTTP server's keep-alive timer may still run; a session may be silent for hours.
    if ('setTimeout' in socket && typeof socket.setTimeout === 'function') socket.setTimeout(0);
    const reply = `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\ndate: ${new Date().toUTCString()}\r\n\r\n`;
    socket.write(reply, (e) => {
      socket.off('close', closed);
      if (e === undefined || e === null) resolve();
      else gone(e);
    });
  });
  if (head.length > 0) socket.unshift(head);
  return socket;
}
