const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/**
 * A count of bytes as the reference prints it: binary unit by bit length (11 to 20 bits: KiB), rounded to three decimals
 * without trailing zeros, e.g. `1.234 GiB`, `0 B` (spec calendar-events 4). Negative values and fractions of a byte are
 * not sizes: they are printed as 0 or cut down.
 */
export function humanSize(bytes: number): string {
  const whole = Number.isFinite(bytes) && bytes > 0 ? Math.floor(bytes) : 0;
  let unit = 0;
  let scale = 1;
  while (unit < binaryUnits.length - 1 && whole >= scale * 1024) {
    scale *= 1024;
    unit += 1;
  }
  return `${Number((whole / scale).toFixed(3))} ${binaryUnits[unit]!}`;
}
