// Edits a configuration: one service or server added, removed or weighed anew.
// Guarantees: pure; the configuration passed in is not changed; naming something that is not there is an error and never a silent no-op.
// Thread: any; no state.
import { parseAddress } from '../config/address.js';
import type { Config, ConfigInput } from '../config/schema.js';
import { createError } from '../errors.js';

export type ServiceInput = ConfigInput['services'][number];
export type ServerInput = ServiceInput['servers'][number];

/** Which server of a service is meant: its address alone where that is enough, with the port where several servers share it. */
export type ServerRef = string | { readonly address: string; readonly port?: number };

/** A weight that is to be another one. */
export interface WeightChange {
  readonly service: string;
  readonly server: ServerRef;
  readonly weight: number;
}

const MAX_WEIGHT = 65_535;

type Service = Config['services'][number];

/** What findServer must know of a service. */
interface Findable<S> {
  readonly name: string;
  readonly port?: string | number;
  readonly servers: readonly S[];
}
interface Endpoint {
  readonly address: string;
  readonly port?: number;
}

/** Names that a message lists; more would hide what it says. */
const MOST_NAMES = 20;

function notFound(message: string, remedy: string): Error {
  return createError('MILLRACE_E_INPUT_INVALID', message, { remedy });
}

/** The error for a service that is not among `names`. */
export function serviceNotFound(name: string, names: readonly string[]): Error {
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : '';
  const remedy =
    names.length === 0 ? 'Add it with addService().' : `Services are: ${names.slice(0, MOST_NAMES).join(', ')}${more}.`;
  return notFound(`there is no service "${name}"`, remedy);
}

function findService(config: Config, name: string): Service {
  const service = config.services.find((candidate) => candidate.name === name);
  if (service !== undefined) return service;
  throw serviceNotFound(
    name,
    config.services.map((candidate) => candidate.name),
  );
}

/** The server's port, if it has one of its own. */
function portOf(server: Endpoint, service: Findable<Endpoint>): number | undefined {
  return server.port ?? (typeof service.port === 'number' ? service.port : undefined);
}

/** The server of the service that is meant. Port 0 is that of servers without one. Throws MILLRACE_E_INPUT_INVALID where none or several are. */
export function findServer<S extends Endpoint>(service: Findable<S>, ref: ServerRef): S {
  const { address, port } = typeof ref === 'string' ? { address: ref, port: undefined } : ref;
  const [server, another] = service.servers.filter(
    (candidate) => sameAddress(candidate.address, address) && (port === undefined || (portOf(candidate, service) ?? 0) === port),
  );
  const wanted = port === undefined ? address : `${address} port ${port}`;
  const list = service.servers
    .map((candidate) => {
      const own = portOf(candidate, service);
      return own === undefined ? candidate.address : `${candidate.address} port ${own}`;
    })
    .join(', ');
  if (server === undefined) {
    const remedy = list === '' ? 'The service has no servers.' : `Its servers are: ${list}.`;
    throw notFound(`service "${service.name}" has no server ${wanted}`, remedy);
  }
  if (another !== undefined) {
    throw notFound(
      `service "${service.name}" has several servers ${wanted}`,
      `Say which port is meant. Its servers are: ${list}.`,
    );
  }
  return server;
}

/** Whether two texts are one address: "2001:db8::1" and "2001:db8:0::1" are. */
function sameAddress(a: string, b: string): boolean {
  return a === b || (parseAddress(a)?.text ?? a) === (parseAddress(b)?.text ?? b);
}

/** A configuration in which one service is as `change` makes it. */
function withService(config: Config, service: Service, servers: readonly ServerInput[]): ConfigInput {
  return {
    ...config,
    services: config.services.map((candidate) => (candidate === service ? { ...service, servers: [...servers] } : candidate)),
  };
}

export function addService(config: Config, service: ServiceInput): ConfigInput {
  return { ...config, services: [...config.services, service] };
}

export function removeService(config: Config, name: string): ConfigInput {
  const service = findService(config, name);
  return { ...config, services: config.services.filter((candidate) => candidate !== service) };
}

export function addServer(config: Config, serviceName: string, server: ServerInput): ConfigInput {
  const service = findService(config, serviceName);
  return withService(config, service, [...service.servers, server]);
}

export function removeServer(config: Config, serviceName: string, ref: ServerRef): ConfigInput {
  const service = findService(config, serviceName);
  const server = findServer(service, ref);
  return withService(
    config,
    service,
    service.servers.filter((candidate) => candidate !== server),
  );
}

/** No rule of the configuration looks at weights, so that the result needs no further check: it is a Config as it stands. */
export function setWeights(config: Config, changes: readonly WeightChange[]): Config {
  const wanted = new Map<string, WeightChange[]>();
  for (const change of changes) {
    const others = wanted.get(change.service);
    if (others === undefined) wanted.set(change.service, [change]);
    else others.push(change);
  }
  const found = new Set<string>();
  const services = config.services.map((service) => {
    const of = wanted.get(service.name);
    if (of === undefined) return service;
    found.add(service.name);
    return of.reduce(reweigh, service);
  });
  for (const name of wanted.keys()) if (!found.has(name)) findService(config, name);
  return { ...config, services };
}

export function setWeight(config: Config, service: string, server: ServerRef, weight: number): Config {
  return setWeights(config, [{ service, server, weight }]);
}

function reweigh(service: Service, { server: ref, weight }: WeightChange): Service {
  const server = findServer(service, ref);
  checkWeight(weight);
  return {
    ...service,
    servers: service.servers.map((candidate) => (candidate === server ? { ...candidate, weight } : candidate)),
  };
}

/** Throws MILLRACE_E_INPUT_INVALID for what is no weight. */
export function checkWeight(weight: number): void {
  if (Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT) return;
  throw createError('MILLRACE_E_INPUT_INVALID', `a weight of ${weight} is not possible`, {
    remedy: `Weights are whole numbers from 0 (drains) to ${MAX_WEIGHT}.`,
  });
}
