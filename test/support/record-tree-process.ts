import { lstatSync } from 'node:fs';
import { recordTree } from './recorded-tree.ts';

/** Prints the tree at the path that is given: for trees whose reading would wait for this process's parent. */
const root = process.argv[2]!;
const entries = [...recordTree(root).values()].map((entry) => {
  const path = entry.pathHex === undefined ? Buffer.from(entry.path) : Buffer.from(entry.pathHex, 'hex');
  const { ino } = lstatSync(Buffer.concat([Buffer.from(`${root}/`), path]), { bigint: true });
  return { ...entry, ino: ino.toString() };
});
process.stdout.write(JSON.stringify(entries));
