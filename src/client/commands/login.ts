import { ConfigError, errorChain } from '../../base/errors.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { jsonText, outputFormat } from '../../terminal/output.ts';
import type { ClientCommand, ClientContext } from '../client-context.ts';
import { connect, givenRepository, requiredRepository, ticketCache } from '../connect.ts';
import { repositoryAuthId, repositoryHost, type Repository } from '../repository.ts';
import type { Parameters } from '../../terminal/command.ts';
import { repositoryOptions } from './options.ts';

const login: ClientCommand = {
  words: ['login'],
  description: 'Try to login. If successful, store ticket.',
  parameters: parameters({}, repositoryOptions),
  positional: [],
  run: async (context, given) => {
    const connection = await connect(context, await requiredRepository(context, given), given);
    connection.close();
  },
};

const logout: ClientCommand = {
  words: ['logout'],
  description: 'Logout (delete stored ticket).',
  parameters: parameters({}, repositoryOptions),
  positional: [],
  run: async (context, given) => {
    const repository = await requiredRepository(context, given);
    const [host, authId] = [repositoryHost(repository), repositoryAuthId(repository)];
    if (await ticketCache(context).forget(host, authId)) return;
    context.stderr.write(`no ticket found for ${authId.includes('!') ? '' : `${authId} on `}server ${host}\n`);
  },
};

interface Version {
  version: string;
  release: string;
  repoid: string;
}

/** `1.2.3` as the API says it: two parts and a release. */
function versionParts(text: string): Version {
  const [major = '0', minor = '0', ...rest] = text.split('.');
  return { version: `${major}.${minor}`, release: rest.join('.') || '0', repoid: 'farshore' };
}

/** The server's answer; null, and the reason on stderr, when there is none. */
async function serverVersion(context: ClientContext, repository: Repository, given: Parameters): Promise<Version | null> {
  try {
    const connection = await connect(context, repository, given);
    try {
      return (await connection.get('version')).data as Version;
    } finally {
      connection.close();
    }
  } catch (e) {
    if (e instanceof ConfigError) throw e;
    context.stderr.write(`could not connect to server - ${errorChain(e)}\n`);
    return null;
  }
}

/** This command works without a repository: one that makes no sense is only said. */
async function knownRepository(context: ClientContext, given: Parameters): Promise<Repository | null> {
  try {
    return await givenRepository(context, given);
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e;
    context.stderr.write(`${e.message}\n`);
    return null;
  }
}

const version: ClientCommand = {
  words: ['version'],
  description: 'Show client and optional server version',
  parameters: parameters({}, { ...repositoryOptions, ...outputFormatOption }),
  positional: [],
  run: async (context, given) => {
    const format = outputFormat(given['output-format'], context.output);
    const repository = await knownRepository(context, given);
    const server = repository === null ? null : await serverVersion(context, repository, given);
    if (format !== 'text') {
      context.stdout.write(jsonText({ client: versionParts(context.version), ...(server === null ? {} : { server }) }, format));
      return;
    }
    context.stdout.write(`client version: ${context.version}\n`);
    if (server !== null) context.stdout.write(`server version: ${server.version}.${server.release}\n`);
  },
};

export const loginCommands: readonly ClientCommand[] = [login, logout, version];
