/** A path in messages: quoted, bytes that are no UTF-8 replaced. */
export function shownPath(path: Uint8Array): string {
  return JSON.stringify(Buffer.from(path).toString());
}

/** `folder/name`, or `name` in the root, whose path is empty. */
export function joinPath(folder: Buffer, name: Buffer): Buffer {
  return folder.length === 0 ? name : Buffer.concat([folder, Buffer.of(0x2f), name]);
}
