// Serves the API where the configuration says: a unix socket, TCP with TLS, and the probes alone over plain HTTP.
// Guarantees: all places are open, or none is; a changed section is taken over without touching the places that stay; closing ends
// streams first, lets requests that are under way finish, and cuts off what does not end in time.
// Thread: main.
import type { AddressInfo, Server } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { FastifyInstance } from 'fastify';
import { type ApiConfig, DEFAULT_API } from '../config/schema-api.js';
import { readCredentials } from './credentials.js';
import { DEFAULT_LIMITS, type Limits, plainServer, SecureListener } from './listener.js';
import type { ApiCounters, ApiParts } from './parts.js';
import { createApi, createProbes } from './server.js';
import { failureAt, listening, listenOnSocket } from './unix-socket.js';

const PLACES = ['socket', 'tcp', 'plain'] as const;
type Place = (typeof PLACES)[number];

/** An open place. */
interface Open {
  /** What it was opened for. */
  readonly config: ApiConfig;
  readonly server: ReturnType<typeof plainServer>;
  readonly secure?: SecureListener;
}

/** Milliseconds for requests under way when a place closes while others stay. */
const RETIRE = 5000;

export interface RunningApi {
  /** Takes over a section that may have changed, and reads certificates and token again. On failure what was open stays open. */
  configure(config: ApiConfig | undefined): Promise<void>;
  /** Where TCP listeners really are. */
  address(place: 'tcp' | 'plain'): AddressInfo | undefined;
  counters(): ApiCounters;
  /** Milliseconds until what does not end is cut off. */
  close(deadline?: number): Promise<void>;
}

/**
 * Makes the API and opens all places of the configuration; undefined is the default one.
 * @throws MILLRACE_E_API_SOCKET_IN_USE, MILLRACE_E_API_UNAVAILABLE; nothing is open then.
 */
export async function serveApi(
  config: ApiConfig | undefined,
  parts: ApiParts,
  limits: Limits = DEFAULT_LIMITS,
): Promise<RunningApi> {
  const api = createApi(parts);
  const probes = createProbes(parts);
  await Promise.all([api.ready(), probes.ready()]);
  const running = new Listeners(api, probes, limits);
  try {
    await running.configure(config);
    return running;
  } catch (error) {
    await running.close(0);
    throw error;
  }
}

class Listeners implements RunningApi {
  readonly #api: FastifyInstance;
  readonly #probes: FastifyInstance;
  readonly #limits: Limits;
  readonly #open = new Map<Place, Open>();
  readonly #retiring = new Map<Open['server'], Promise<void>>();

  constructor(api: FastifyInstance, probes: FastifyInstance, limits: Limits) {
    this.#api = api;
    this.#probes = probes;
    this.#limits = limits;
  }

  async configure(config: ApiConfig = DEFAULT_API): Promise<void> {
    const changed = PLACES.filter((place) => {
      const open = this.#open.get(place);
      return !isDeepStrictEqual(open && settingsOf(open.config, place), settingsOf(config, place));
    });
    const renew = await this.#readAgain(config, changed);
    const before = new Map(changed.map((place) => [place, this.#open.get(place)?.config]));
    // A place that changes is closed before its successor opens, since both may want the same address.
    for (const place of changed) this.#retire(place);
    try {
      for (const place of changed) await this.#start(place, config);
    } catch (error) {
      for (const place of changed) this.#retire(place);
      // They were open a moment ago; the error to be told is that of the new place.
      for (const place of changed) {
        const old = before.get(place);
        if (old !== undefined) await this.#start(place, old).catch(() => undefined);
      }
      throw error;
    }
    renew();
  }

  address(place: 'tcp' | 'plain'): AddressInfo | undefined {
    const address = this.#open.get(place)?.server.address();
    return typeof address === 'object' && address !== null ? address : undefined;
  }

  counters(): ApiCounters {
    return this.#api.apiCounters();
  }

  async close(deadline = 5000): Promise<void> {
    for (const place of PLACES) this.#retire(place);
    // Ends the streams of events, which would keep their connections open.
    await Promise.all([this.#api.close(), this.#probes.close()]);
    const servers = [...this.#retiring.keys()];
    for (const server of servers) server.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, deadline);
    await Promise.all(this.#retiring.values());
    clearTimeout(timer);
  }

  /** New files for a place that stays. They are read before anything changes, and used when everything else has succeeded. */
  async #readAgain({ tcp }: ApiConfig, changed: readonly Place[]): Promise<() => void> {
    const secure = this.#open.get('tcp')?.secure;
    if (tcp === undefined || secure === undefined || changed.includes('tcp')) return () => undefined;
    const credentials = await readCredentials(tcp);
    return () => secure.renew(credentials);
  }

  /** Opens the place if the configuration has it. */
  async #start(place: Place, config: ApiConfig): Promise<void> {
    if (settingsOf(config, place) === undefined) return;
    if (place === 'socket') {
      const server = plainServer(this.#api, this.#limits);
      await listenOnSocket(server, config);
      this.#open.set(place, { config, server });
    } else if (place === 'plain') {
      const server = plainServer(this.#probes, this.#limits);
      await listenOn(server, config.plain);
      this.#open.set(place, { config, server });
    } else if (config.tcp !== undefined) {
      const secure = new SecureListener(this.#api, await readCredentials(config.tcp), this.#limits);
      await listenOn(secure.server, config.tcp);
      this.#open.set(place, { config, server: secure.server, secure });
    }
  }

  /** Takes no more connections there; what is under way has some time to end. */
  #retire(place: Place): void {
    const open = this.#open.get(place);
    if (open === undefined) return;
    this.#open.delete(place);
    const { server } = open;
    const timer = setTimeout(() => server.closeAllConnections(), RETIRE).unref();
    const closed = closing(server).then(() => {
      clearTimeout(timer);
      this.#retiring.delete(server);
    });
    this.#retiring.set(server, closed);
    server.closeIdleConnections();
  }
}

function settingsOf(config: ApiConfig, place: Place): unknown {
  if (place !== 'socket') return config[place];
  const { socket, mode, group } = config;
  return socket === 'none' ? undefined : { socket, mode, group };
}

async function listenOn(server: Server, where: { readonly address: string; readonly port: number } | undefined): Promise<void> {
  if (where === undefined) throw new TypeError('no settings for the listener');
  const { address, port } = where;
  try {
    await listening(server, () => server.listen({ host: address, port }));
  } catch (error) {
    throw failureAt(`${address}:${port}`, error);
  }
}

function closing(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
