import { Type } from 'typebox';
import { flag } from '../../config/schemas.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import type { Parameters } from '../../terminal/command.ts';
import { show } from '../../terminal/output.ts';
import { abortable } from '../abortable.ts';
import { measureNames, runBenchmark, speedCell, tops, type BenchmarkParts, type MeasureName, type Speeds } from '../benchmark.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenRepository } from '../connect.ts';
import { readKeyFile } from '../encryption-key.ts';
import { openGivenKey } from '../given-key.ts';
import { isText } from '../is-text.ts';
import { repositoryOptions } from './options.ts';

const labels: Readonly<Record<MeasureName, string>> = {
  tls: 'TLS (maximal backup upload speed)',
  sha256: 'SHA256 checksum computation speed',
  compress: 'ZStd level 1 compression speed',
  decompress: 'ZStd level 1 decompression speed',
  verify: 'Chunk verification speed',
  aes256_gcm: 'AES256 GCM encryption speed',
};

/** Measures with a session to the repository if one is named, otherwise without. */
async function measured(context: ClientContext, given: Parameters, parts: Omit<BenchmarkParts, 'client'>): Promise<Speeds> {
  const repository = await givenRepository(context, given);
  if (repository === null) return runBenchmark({ ...parts, client: null });
  const connection = await connect(context, repository, given, { signal: parts.signal });
  try {
    const snapshot = { type: 'host', id: 'benchmark', time: Math.floor(context.clock.now() / 1000) } as const;
    const client = await connection.openBackup('', snapshot, { debug: false, benchmark: true, noCache: given['no-cache'] === true });
    try {
      return await runBenchmark({ ...parts, client });
    } finally {
      client.close();
    }
  } finally {
    connection.close();
  }
}

const benchmark: ClientCommand = {
  words: ['benchmark'],
  description: 'Measure how fast this host and the line to the server are.',
  parameters: parameters(
    {},
    {
      ...repositoryOptions,
      ...outputFormatOption,
      keyfile: Type.String({ description: 'Encryption key to measure with.' }),
      'no-cache': flag('Bypass local datastore cache for network storages.', { default: false }),
    },
  ),
  positional: [],
  run: async (context, given) => {
    const path = given['keyfile'] as string | undefined;
    const key = await openGivenKey(context, path === undefined ? null : { text: `Using encryption key from '${path}'..`, bytes: await readKeyFile(path) });
    const speeds = await abortable(context.interrupts, async (signal) => measured(context, given, { crypt: key?.crypt ?? null, stderr: context.stderr, signal }));
    if (isText(context, given)) {
      const row = Object.fromEntries(measureNames.map((name) => [labels[name], speedCell(name, speeds[name])]));
      show({ kind: 'object', fields: measureNames.map((name) => ({ name: labels[name] })) }, row, given['output-format'], context);
    } else {
      const data = Object.fromEntries(measureNames.map((name) => [name, { ...(speeds[name] === undefined ? {} : { speed: speeds[name] }), top: tops[name] }]));
      show({ kind: 'object', fields: [] }, data, given['output-format'], context);
    }
  },
};

export const benchmarkCommands: readonly ClientCommand[] = [benchmark];
