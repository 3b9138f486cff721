import { Type } from 'typebox';
import { parameters } from '../../terminal/command-parameters.ts';
import { abortable } from '../abortable.ts';
import { parseSnapshotPath } from '../backup-paths.ts';
import { dumpCatalog } from '../catalog-dump.ts';
import type { ClientCommand } from '../client-context.ts';
import { connect, givenNamespace, requiredRepository } from '../connect.ts';
import { givenKey, openGivenKey } from '../given-key.ts';
import { downloadManifest, requireManifestKey } from '../snapshot-contents.ts';
import { SteadyReader } from '../steady-reader.ts';
import { catalogShell } from './catalog-shell.ts';
import { keyOptions, targetOptions } from './options.ts';

const dump: ClientCommand = {
  words: ['catalog', 'dump'],
  description: 'List everything in the directory trees of a snapshot.',
  parameters: parameters({ snapshot: Type.String({ description: 'Snapshot path: type/id/time.' }) }, { ...targetOptions, ...keyOptions }),
  positional: ['snapshot'],
  run: async (context, given) => {
    const repository = await requiredRepository(context, given);
    const snapshot = parseSnapshotPath(given['snapshot'] as string);
    const ns = givenNamespace(context, given);
    await abortable(context.interrupts, async (signal) => {
      const key = await openGivenKey(context, await givenKey(context, given));
      const connection = await connect(context, repository, given, { signal });
      try {
        const reader = await SteadyReader.open({ open: async () => connection.openReader(ns, snapshot), stderr: context.stderr, pause: context.pause });
        try {
          const { manifest } = await downloadManifest(reader, key?.crypt ?? null);
          requireManifestKey(manifest, key?.crypt ?? null);
          await dumpCatalog({ reader, manifest, crypt: key?.crypt ?? null, output: context.stderr, timeZone: context.output.timeZone });
        } finally {
          reader.close();
        }
      } finally {
        connection.close();
      }
    });
  },
};

export const catalogCommands: readonly ClientCommand[] = [dump, catalogShell];
