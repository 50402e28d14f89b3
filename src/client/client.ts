// The typed client of the API: every call, its parameters and its answer come from src/api/contract.ts, so there is no second list.
// Guarantees: rejects with an error of the catalogue (or the reason of the signal); an answer that does not have the form of the contract
// is MILLRACE_E_API_ANSWER and never reaches the caller.
// Thread: main.
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { ENDPOINTS, type Endpoint, type EndpointName, type Reply } from '../api/contract.js';
import { createError } from '../errors.js';
import { fromApiError, parseJson } from './api-error.js';
import { type ApiEvent, type EventOptions, readEvents } from './events.js';
import { type ApiTarget, describeTarget } from './target.js';
import { readText, send } from './transport.js';

type Described<N extends EndpointName> = (typeof ENDPOINTS)[N];
type PathWords<P extends string> = P extends `${string}{${infer Word}}${infer Rest}` ? Word | PathWords<Rest> : never;
type Parameters<N extends EndpointName> = [PathWords<Described<N>['path']>] extends [never]
  ? unknown
  : { readonly params: Readonly<Record<PathWords<Described<N>['path']>, string>> };
type Body<N extends EndpointName> =
  Described<N> extends { readonly body: infer B extends TSchema } ? { readonly body: Static<B> } : unknown;
type Query<N extends EndpointName> =
  Described<N> extends { readonly query: infer Q extends TSchema } ? { readonly query?: Static<Q> } : unknown;
/** `expected`: the version that a change was made for; another one in force is MILLRACE_E_VERSION_CONFLICT. */
type Expectation<N extends EndpointName> =
  Described<N> extends { readonly changes: true } ? { readonly expected?: string } : unknown;

/** Everything that a call of the endpoint takes. */
export type ApiRequest<N extends EndpointName> = Parameters<N> &
  Body<N> &
  Query<N> &
  Expectation<N> & { readonly signal?: AbortSignal };

/** Endpoints that answer once; those with a stream have methods of their own. */
export type CallName = { [N in EndpointName]: Described<N> extends { readonly stream: string } ? never : N }[EndpointName];

/** A call's request may be left out where it needs nothing. */
type Arguments<N extends CallName> =
  Record<never, never> extends ApiRequest<N> ? [request?: ApiRequest<N>] : [request: ApiRequest<N>];

interface LooseRequest {
  readonly params?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly expected?: string;
  readonly signal?: AbortSignal;
}

export interface ApiClientOptions {
  /** Milliseconds without a byte after which nobody is there; default 30,000. */
  readonly timeout?: number;
}

/**
 * @example
 * ```ts
 * const client = new ApiClient({ socket: '/run/millrace/api.sock' });
 * await client.call('setWeight', { params: { service: 'web', server: '192.0.2.11:8080' }, body: { weight: 0 } });
 * ```
 */
export class ApiClient {
  readonly target: ApiTarget;
  readonly #timeout: number;

  constructor(target: ApiTarget, options: ApiClientOptions = {}) {
    this.target = target;
    this.#timeout = options.timeout ?? 30_000;
  }

  /** One request and its answer. */
  async call<N extends CallName>(name: N, ...[given]: Arguments<N>): Promise<Reply<N>> {
    const request: LooseRequest = given ?? {};
    const endpoint: Endpoint = ENDPOINTS[name];
    const response = await send(this.target, {
      method: endpoint.method,
      path: pathOf(endpoint, request),
      headers: {
        accept: 'application/json',
        ...(request.expected === undefined ? {} : { 'if-match': `"${request.expected}"` }),
      },
      timeout: this.#timeout,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    const text = await readText(this.target, response, request.signal);
    const status = response.statusCode ?? 0;
    const place = describeTarget(this.target);
    if (status < 200 || status > 299) throw fromApiError(place, status, text);
    return checked(place, name, parseJson(text));
  }

  /** Events from now on, or from behind `after`; connects again by itself. Ends when the signal says so. */
  events(options: EventOptions = {}): AsyncGenerator<ApiEvent, void, void> {
    return readEvents(this.target, pathOf(ENDPOINTS.events, {}), options);
  }
}

/** The path of a request below the host, from the contract's. */
export function pathOf(endpoint: Endpoint, request: LooseRequest): string {
  const path = endpoint.path.replaceAll(/\{(\w+)\}/g, (_, word: string) => segment(request.params?.[word] ?? ''));
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(key, String(value));
  return `/api/v1${path}${query.size === 0 ? '' : `?${query}`}`;
}

/** "." and ".." would be taken for steps of the path, and encodeURIComponent() leaves them as they are. */
function segment(word: string): string {
  return /^\.{1,2}$/.test(word) ? word.replaceAll('.', '%2E') : encodeURIComponent(word);
}

function checked<N extends CallName>(place: string, name: N, value: unknown): Reply<N> {
  const schema: TSchema = ENDPOINTS[name].reply;
  if (Value.Check(schema, value)) return value as Reply<N>;
  const first = Value.Errors(schema, value)[0];
  const where = first === undefined ? '' : ` (${first.instancePath === '' ? 'the whole' : first.instancePath}: ${first.message})`;
  throw createError(
    'MILLRACE_E_API_ANSWER',
    `the answer of ${place} about "${name}" does not have the form of this version${where}`,
  );
}
