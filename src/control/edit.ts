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

const MAX_WEIGHT = 65_535;

type Service = Config['services'][number];

function notFound(message: string, remedy: string): Error {
  return createError('MILLRACE_E_INPUT_INVALID', message, { remedy });
}

function findService(config: Config, name: string): Service {
  const service = config.services.find((candidate) => candidate.name === name);
  if (service !== undefined) return service;
  const names = config.services.map((candidate) => candidate.name).join(', ');
  throw notFound(`there is no service "${name}"`, names === '' ? 'Add it with addService().' : `Services are: ${names}.`);
}

/** The server's port, if it has one of its own. */
function portOf(server: Service['servers'][number], service: Service): number | undefined {
  return server.port ?? (typeof service.port === 'number' ? service.port : undefined);
}

function findServer(service: Service, ref: ServerRef): Service['servers'][number] {
  const { address, port } = typeof ref === 'string' ? { address: ref, port: undefined } : ref;
  const [server, another] = service.servers.filter(
    (candidate) => sameAddress(candidate.address, address) && (port === undefined || portOf(candidate, service) === port),
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
export function setWeight(config: Config, serviceName: string, ref: ServerRef, weight: number): Config {
  const service = findService(config, serviceName);
  const server = findServer(service, ref);
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw createError('MILLRACE_E_INPUT_INVALID', `a weight of ${weight} is not possible`, {
      remedy: `Weights are whole numbers from 0 (drains) to ${MAX_WEIGHT}.`,
    });
  }
  const servers = service.servers.map((candidate) => (candidate === server ? { ...candidate, weight } : candidate));
  return {
    ...config,
    services: config.services.map((candidate) => (candidate === service ? { ...service, servers } : candidate)),
  };
}
