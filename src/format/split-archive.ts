import { manifestFile, type Manifest, type ManifestFile } from './manifest.ts';

/** The two files of a split archive. */
export interface SplitFiles {
  archive: ManifestFile;
  payload: ManifestFile;
}

const splitPattern = /\.(pxar|mpxar|ppxar)\.didx$/;

/** The split archive that `fileName` means: `.pxar` may be stored as a pair of `.mpxar` and `.ppxar`, of which any name means both (spec client-cli 5). Null: it is one file. */
export function splitFiles(manifest: Manifest, fileName: string): SplitFiles | null {
  const match = splitPattern.exec(fileName);
  if (match === null) return null;
  if (match[1] === 'pxar' && manifestFile(manifest, fileName) !== undefined) return null;
  const base = fileName.slice(0, match.index);
  const [archive, payload] = ['mpxar', 'ppxar'].map((kind) => manifestFile(manifest, `${base}.${kind}.didx`));
  return archive === undefined || payload === undefined ? null : { archive, payload };
}
