import { join } from 'node:path';
import { DelayProxy } from '../test/support/delay-proxy.ts';
import { Peer } from '../test/support/peer.ts';
import { makeReaderToken } from '../test/support/peer-backups.ts';
import { syncAuthId } from '../test/support/sync-source.ts';
import { makeSource, type SourceContent } from './made-source.ts';
import { benchNumbers } from './peer-pull.ts';
import type { PullSource } from './source-server.ts';

/** The reference's server as the source of a pull. */
export class PeerSource implements PullSource {
  readonly path: string;
  readonly port: number;
  readonly fingerprint: string;
  readonly secret: string;
  /** Its datastore holds a chunk of its own, of a check of access times. */
  readonly ownChunkBytes = 1024 * 1024;
  readonly #stack: AsyncDisposableStack;

  private constructor(peer: Peer, port: number, secret: string, stack: AsyncDisposableStack) {
    this.path = join(peer.dataFolder, 'main');
    this.port = port;
    this.fingerprint = peer.fingerprint;
    this.secret = secret;
    this.#stack = stack;
  }

  static async start(content: SourceContent): Promise<PeerSource> {
    await using stack = new AsyncDisposableStack();
    const peer = stack.use(await Peer.start(benchNumbers));
    await makeSource(join(peer.dataFolder, 'main'), content);
    await peer.manager('datastore', 'create', 'main', '/data/main', '--reuse-datastore', 'true');
    const [user, token] = syncAuthId.split('!');
    const secret = await makeReaderToken(peer, 'main', user!, token!);
    // Other instances of the reference reach this host, not each other.
    const door = stack.use(await DelayProxy.start({ target: { host: peer.host, port: peer.port }, host: '0.0.0.0' }));
    return new PeerSource(peer, door.port, secret, stack.move());
  }

  figures(): Promise<null> {
    return Promise.resolve(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
