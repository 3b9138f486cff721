/** Value of this attribute is kept apart from the others. */
export const capabilityName = 'security.capability';

const maxLength = 255;

/** Whether an extended attribute is archived and restored as such (spec pxar 5.5). */
export function isArchivedXattr(name: Uint8Array): boolean {
  if (name.length === 0 || name.length > maxLength) return false;
  const text = Buffer.from(name).toString('latin1');
  return text.startsWith('user.') || text.startsWith('trusted.') || text === 'security.NTACL';
}
