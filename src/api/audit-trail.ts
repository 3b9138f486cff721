import type { AuditEvent } from '../access/audit-line.ts';
import type { AuditLog } from '../access/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { TaskDescription } from '../schedule/worker-task.ts';
import type { Caller, Endpoint } from './endpoint.ts';

/** One request as the router knows it at its end. */
export interface CallRecord {
  endpoint: Endpoint;
  method: string;
  /** Below `/api2/json`. */
  path: string;
  caller: Caller;
  /** Null: they could not be read, or were not looked at. */
  parameters: Readonly<Record<string, unknown>> | null;
  status: number;
  message?: string;
}

/** Parameters that are secrets, or may hold some. `test/audit-secrets.test.ts` looks at every parameter of every endpoint. */
const secretNames = /^(?:key|token|value|challenge|tfa-challenge|header|body|certificates|heartbeat|totp)$|password|secret/;

const textLimit = 256;
const listLimit = 32;
const parametersLimit = 16 * 1024;
const messageLimit = 500;

/** Whether the value of a parameter goes into no log. */
export function isSecretParameter(name: string): boolean {
  return secretNames.test(name);
}

function shownText(text: string): string {
  // Names and passwords in front of a host.
  const plain = text.replace(/\/\/[^/\s]*@/g, '//***@');
  return plain.length <= textLimit ? plain : `${plain.slice(0, textLimit)}... (${plain.length} characters)`;
}

function shown(value: unknown): unknown {
  if (typeof value === 'string') return shownText(value);
  if (Array.isArray(value)) return value.length <= listLimit ? value.map(shown) : [...value.slice(0, listLimit).map(shown), `... (${value.length} items)`];
  if (typeof value === 'object' && value !== null) return maskedParameters(value as Record<string, unknown>);
  return value;
}

/** Parameters as they may be written down: secrets as `***`, long texts and lists cut. */
export function maskedParameters(parameters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined).map(([name, value]) => [name, isSecretParameter(name) ? '***' : shown(value)]));
}

function withinLimit(parameters: Record<string, unknown>): Record<string, unknown> {
  const length = Buffer.byteLength(JSON.stringify(parameters));
  return length <= parametersLimit ? parameters : { '...': `${length} bytes of parameters` };
}

/** Failed logins that are written within a minute; the others are counted. */
const failuresPerMinute = 600;

/** Writes down who did what through the API, and which tasks were started; of reading only what takes data out. */
export class AuditTrail {
  readonly #log: Pick<AuditLog, 'append'>;
  readonly #clock: Clock;
  #minute = -1;
  #failures = 0;
  #omitted = 0;

  constructor(log: Pick<AuditLog, 'append'>, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Changes, sessions and downloads, also refused ones. Resolves when it is written. */
  async call({ endpoint, method, path, caller, parameters, status, message }: CallRecord): Promise<void> {
    const event = eventOf(endpoint, status);
    if (event === null) return;
    const record: AuditEvent = {
      event,
      auth: caller.authId,
      address: caller.remoteAddress,
      method,
      path,
      ...(parameters === null ? {} : { parameters: withinLimit(maskedParameters(parameters)) }),
      status,
      ...(message === undefined ? {} : { message: message.slice(0, messageLimit) }),
    };
    await (event === 'login-failure' ? this.#failure(record) : this.#log.append(record));
  }

  /** A request whose ticket or token was refused. */
  async refused(request: { address: string; method: string; path: string }): Promise<void> {
    await this.#failure({ event: 'login-failure', auth: '', ...request, status: 401 });
  }

  async task(upid: string, { authId }: Pick<TaskDescription, 'authId'>): Promise<void> {
    await this.#log.append({ event: 'task', auth: authId, address: 'local', upid });
  }

  /** Nobody without a password is to fill the disk. */
  async #failure(record: AuditEvent): Promise<void> {
    const minute = Math.floor(this.#clock.now() / 60_000);
    if (minute !== this.#minute) this.#failures = 0;
    this.#minute = minute;
    this.#failures += 1;
    if (this.#failures > failuresPerMinute) {
      this.#omitted += 1;
      return;
    }
    const omitted = this.#omitted;
    this.#omitted = 0;
    await this.#log.append(omitted === 0 ? record : { ...record, omitted });
  }
}

function eventOf(endpoint: Endpoint, status: number): AuditEvent['event'] | null {
  if (endpoint.path === '/access/ticket' && status === 401) return 'login-failure';
  if (endpoint.kind === 'upgrade') return 'session';
  if (endpoint.method !== 'GET') return 'call';
  return endpoint.kind === 'raw' && endpoint.path.includes('download') ? 'download' : null;
}
