/** `10.0.0.5:44310` or `[::ffff:10.0.0.5]:44310`, as logs name who asked (spec server 11); `unix` for the local socket. */
export function remoteAddressText(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  const { remoteAddress, remotePort = 0 } = socket;
  if (remoteAddress === undefined) return 'unix';
  return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
