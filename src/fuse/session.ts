import { Semaphore } from '../base/async.ts';
import { errorChain, FormatError, StoreError } from '../base/errors.ts';
import { FuseRefusal, fuseErrors, type FuseFileSystem } from './file-system.ts';
import { attributesBody, entryBody, errorReply, goodReply, initBody, initVersionBody, ListingBody, openBody, statfsBody, xattrSizeBody } from './reply.ts';
import { decodeRequest, fuseMajor, oldestMinor, requestAddress, type FuseRequest } from './request.ts';

/** Where requests come from and replies go to. */
export interface FuseChannel {
  /** Whole requests, as many as there were at once; ends when the file system is mounted no longer. */
  requests(): AsyncIterable<readonly Buffer[]>;
  /** One whole reply. Never waits. */
  reply(parts: readonly Buffer[]): void;
}

/** Reads that fetch data at the same time: a bound of memory. */
const readsAtOnce = 16;
/** access(2)'s W_OK. */
const writeAccess = 2;

type Of<Kind extends FuseRequest['kind']> = Extract<FuseRequest, { kind: Kind }>;

/** Answers the kernel's requests about one mounted file system, many at a time. */
export class FuseSession {
  readonly #channel: FuseChannel;
  readonly #files: FuseFileSystem;
  readonly #onError: (message: string) => void;
  readonly #ready = Promise.withResolvers<void>();
  readonly #reads = new Semaphore(readsAtOnce);
  /** Requests that are being worked on. */
  readonly #pending = new Map<bigint, Promise<void>>();
  #isOpen = false;

  /** `onError` is told of each request that fails because something is wrong. */
  constructor(channel: FuseChannel, files: FuseFileSystem, onError: (message: string) => void) {
    this.#channel = channel;
    this.#files = files;
    this.#onError = onError;
    // Whoever runs the session hears of it there.
    this.#ready.promise.catch(() => {});
  }

  /** Fulfilled when the kernel and we have agreed on how to talk; rejected when the session ended before. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Works until the file system is mounted no longer. StoreError `store.fuse` when kernel and we do not understand each other. */
  async run(): Promise<void> {
    try {
      for await (const requests of this.#channel.requests()) for (const bytes of requests) this.#take(bytes);
      await Promise.all(this.#pending.values());
    } catch (e) {
      this.#ready.reject(e);
      throw e;
    }
    this.#ready.reject(new StoreError('store.fuse', 'the mount ended before it was ready'));
  }

  #take(bytes: Buffer): void {
    let request: FuseRequest;
    try {
      request = decodeRequest(bytes);
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      this.#onError(e.message);
      const address = requestAddress(bytes);
      if (address !== null) this.#channel.reply(errorReply(address.unique, fuseErrors.EINVAL));
      return;
    }
    const { kind } = request;
    // Nodes are found again by their numbers: there is nothing to forget, and no reply is wanted.
    if (kind === 'forget') return;
    if (kind === 'init') this.#init(request);
    else if (kind === 'interrupt') this.#interrupt(request.interrupted);
    else if (this.#isOpen) this.#start(request);
    else this.#channel.reply(errorReply(request.unique, fuseErrors.EIO));
  }

  #init(request: Of<'init'>): void {
    const { unique, major, minor } = request;
    if (major > fuseMajor) {
      this.#channel.reply(goodReply(unique, initVersionBody()));
      return;
    }
    if (major < fuseMajor || minor < oldestMinor) {
      this.#channel.reply(errorReply(unique, fuseErrors.EINVAL));
      throw new StoreError('store.fuse', `the kernel speaks FUSE ${major}.${minor}, needed is ${fuseMajor}.${oldestMinor} or newer`, { hint: 'use a kernel of version 3.15 or newer' });
    }
    this.#isOpen = true;
    this.#channel.reply(goodReply(unique, initBody(request)));
    this.#ready.resolve();
  }

  /** The one who waits is told at once; what was fetched for it stays for the next. */
  #interrupt(unique: bigint): void {
    if (this.#pending.delete(unique)) this.#channel.reply(errorReply(unique, fuseErrors.EINTR));
  }

  #start(request: FuseRequest): void {
    const { unique } = request;
    const work = this.#reply(request).then(
      (reply) => {
        if (this.#pending.get(unique) === work) this.#channel.reply(reply);
      },
    ).finally(() => {
      if (this.#pending.get(unique) === work) this.#pending.delete(unique);
    });
    this.#pending.set(unique, work);
  }

  async #reply(request: FuseRequest): Promise<Buffer[]> {
    try {
      return goodReply(request.unique, ...(await this.#answer(request)));
    } catch (e) {
      if (e instanceof FuseRefusal) return errorReply(request.unique, e.errno);
      this.#onError(`${this.#files.shown(request.node)}: ${errorChain(e)}`);
      return errorReply(request.unique, fuseErrors.EIO);
    }
  }

  async #answer(request: FuseRequest): Promise<readonly Buffer[]> {
    const { node } = request;
    switch (request.kind) {
      case 'lookup':
        return [entryBody(await this.#files.lookup(node, request.name))];
      case 'getattr':
        return [attributesBody(await this.#files.attributes(node))];
      case 'readlink':
        return [await this.#files.readlink(node)];
      case 'open':
      case 'opendir':
        return [openBody(request.kind === 'opendir')];
      case 'read':
        return this.#reads.run(async () => this.#files.read(node, request.offset, request.size));
      case 'readdir':
        return [await this.#listing(request)];
      case 'getxattr':
        return this.#xattr(request);
      case 'listxattr':
        return sized(request.size, Buffer.concat((await this.#files.xattrs(node)).flatMap(({ name }) => [name, Buffer.of(0)])));
      case 'statfs':
        return [statfsBody(this.#files.totals())];
      case 'access':
        if ((request.mask & writeAccess) !== 0) throw new FuseRefusal('EROFS');
        return [];
      case 'done':
      case 'destroy':
        return [];
      case 'change':
        throw new FuseRefusal('EROFS');
      case 'unknown':
      case 'init':
      case 'forget':
      case 'interrupt':
        throw new FuseRefusal('ENOSYS');
    }
  }

  async #listing({ node, offset, size, plus }: Of<'readdir'>): Promise<Buffer> {
    const body = new ListingBody(size, plus);
    for await (const record of this.#files.list(node, offset)) if (!body.add(record)) break;
    return body.bytes;
  }

  async #xattr({ node, name, size }: Of<'getxattr'>): Promise<readonly Buffer[]> {
    const found = (await this.#files.xattrs(node)).find((xattr) => xattr.name.equals(name));
    if (found === undefined) throw new FuseRefusal('ENODATA');
    return sized(size, found.value);
  }
}

/** A value that the caller may first ask the length of, with size 0. */
function sized(size: number, value: Buffer): Buffer[] {
  if (size === 0) return [xattrSizeBody(value.length)];
  if (value.length > size) throw new FuseRefusal('ERANGE');
  return [value];
}
