/** A source server in a process of its own. Argument: folder of its datastore. Prints one line of JSON, `{port, fingerprint}`, and serves until stdin ends. */
import { startSyncSource } from './sync-source.ts';

const source = await startSyncSource(process.argv[2]!);
console.log(JSON.stringify({ port: source.port, fingerprint: source.fingerprint }));
process.stdin.resume();
process.stdin.once('end', () => void source[Symbol.asyncDispose]());
