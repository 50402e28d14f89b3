// What health checks make of a service: which servers the dataplane is shown, with which weights, and when the sorry server stands in.
// Guarantees: pure; the configuration stays what was asked for, this is only its presentation; a service without a word of health checks
// is shown as it is configured.
// Thread: any; no state.
import { parseAddress } from '../config/address.js';
import type { Config, ServerConfig, ServiceConfig } from '../config/schema.js';
import { endpoint } from './endpoint.js';

/** What health checks say of one server. */
export interface ServerAvailability {
  /** False: not shown at all, as keepalived does without inhibit_on_failure. */
  readonly present: boolean;
  /** Weight in place of the configured one; undefined: as configured. */
  readonly weight?: number;
}

/** What health checks say of one service. */
export interface ServiceAvailability {
  /** By serverKey(). A server that is not here is shown as configured. */
  readonly servers: ReadonlyMap<string, ServerAvailability>;
  /** True: the quorum is lost, and the sorry server takes all new connections. */
  readonly sorry: boolean;
}

/** By service; undefined: as configured. */
export type Availabilities = ReadonlyMap<string, ServiceAvailability | undefined>;

/** Names a server within its service: "192.0.2.1:80", "[2001:db8::1]:80"; port 0 where it has none of its own. */
export function serverKey(service: Pick<ServiceConfig, 'port'>, server: Pick<ServerConfig, 'address' | 'port'>): string {
  const port = server.port ?? (typeof service.port === 'number' ? service.port : 0);
  const address = parseAddress(server.address)?.text ?? server.address;
  return endpoint(address, port);
}

/** The service as the dataplane is to have it. */
export function presentService(service: ServiceConfig, availability: ServiceAvailability | undefined): ServiceConfig {
  if (availability === undefined) return service;
  if (availability.sorry && service.sorryServer !== undefined) {
    return { ...service, servers: [service.sorryServer] };
  }
  const servers = service.servers.flatMap((server) => {
    const said = availability.servers.get(serverKey(service, server));
    if (said === undefined) return [server];
    if (!said.present) return [];
    return [said.weight === undefined ? server : { ...server, weight: said.weight }];
  });
  return { ...service, servers };
}

/** Names of services of `config` alone: what is said of others is forgotten. */
export function keepKnown(said: Availabilities, config: Config): Map<string, ServiceAvailability | undefined> {
  const names = new Set(config.services.map((service) => service.name));
  return new Map([...said].filter(([name]) => names.has(name)));
}
