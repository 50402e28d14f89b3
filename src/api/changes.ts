// Requests that change something, as operations on the desired state.
// Guarantees: what a request names is looked for first, so that a wrong name is "not there" and never a change; each request is one call,
// with the version that it was made for.
// Thread: main.
import type { ServiceConfig } from '../config/schema.js';
import { serverKey } from '../control/availability.js';
import type { ServerInput, ServerRef, ServiceInput } from '../control/edit.js';
import type { ChangeOptions, DesiredState, Operation, Section } from '../state/desired.js';
import { servicesByName } from '../state/overlay.js';
import { checkSection } from './bodies.js';
import type { ChangeViewBody } from './contract.js';
import { notFound, requestInvalid } from './errors.js';
import { parseServerName, type ServerName } from './server-name.js';

/** The service of the configuration. @throws MILLRACE_E_NOT_FOUND */
export function serviceNamed(desired: DesiredState, name: string): ServiceConfig {
  const services = servicesByName(desired.config);
  const service = services.get(name);
  if (service !== undefined) return service;
  throw notFound(`there is no service ${JSON.stringify(name)}`, `${list('Services are', [...services.keys()])}`);
}

/** The key of a server as paths have it. @throws MILLRACE_E_NOT_FOUND for what can be no server. */
export function keyNamed(text: string): string {
  const name = parseServerName(text);
  if (name !== undefined) return keyOf(name);
  const remedy = 'Write ADDRESS:PORT, or [ADDRESS]:PORT for IPv6, percent-encoded; port 0 where the server has none of its own.';
  throw notFound(`${JSON.stringify(text)} is no server`, remedy);
}

export function serverMissing(service: ServiceConfig, text: string): Error {
  const keys = service.servers.map((server) => serverKey(service, server));
  return notFound(`service "${service.name}" has no server ${text}`, list('Its servers are', keys));
}

function keyOf({ address, port }: ServerName): string {
  return serverKey({}, { address, port });
}

function list(what: string, names: readonly string[]): string {
  if (names.length === 0) return 'There are none.';
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${what}: ${shown} and ${names.length - 20} more.` : `${what}: ${shown}.`;
}

/** The server as the desired state takes it. @throws MILLRACE_E_NOT_FOUND */
function refOf(service: ServiceConfig, text: string): ServerRef {
  const key = keyNamed(text);
  if (!service.servers.some((server) => serverKey(service, server) === key)) throw serverMissing(service, text);
  return refTo(parseServerName(key));
}

function refTo(name: ServerName | undefined): ServerRef {
  const { address, port } = name ?? { address: '', port: 0 };
  return port === 0 ? { address } : { address, port };
}

/** A body may repeat what the path says, and must not contradict it. */
function refuseOther(key: string, found: unknown, wanted: string): void {
  if (found === undefined || String(found) === wanted) return;
  const reason = `${JSON.stringify(found)} is not what the path says, ${wanted}`;
  throw requestInvalid('the body contradicts the path', [
    { path: [key], at: 'value', reason, remedy: 'leave it out of the body' },
  ]);
}

export class Changes {
  readonly #desired: DesiredState;

  constructor(desired: DesiredState) {
    this.#desired = desired;
  }

  putService(name: string, body: object, options: ChangeOptions): Promise<ChangeViewBody> {
    refuseOther('name', Reflect.get(body, 'name'), name);
    // The schema of the body is the configuration's: this is what it was checked to be.
    const service = { ...body, name } as ServiceInput;
    return this.#change({ op: 'put-service', service }, options);
  }

  deleteService(name: string, options: ChangeOptions): Promise<ChangeViewBody> {
    serviceNamed(this.#desired, name);
    return this.#change({ op: 'delete-service', name }, options);
  }

  putServer(serviceName: string, serverText: string, body: object, options: ChangeOptions): Promise<ChangeViewBody> {
    const service = serviceNamed(this.#desired, serviceName);
    const { address, port } = parseServerName(keyNamed(serverText)) ?? { address: '', port: 0 };
    const given = parseServerName(String(Reflect.get(body, 'address') ?? address));
    refuseOther('address', given?.address, address);
    const own: unknown = Reflect.get(body, 'port');
    // "192.0.2.1" alone leaves the port to the body.
    const unsaid = port === 0 && !/:0$/.test(serverText);
    if (!unsaid) refuseOther('port', own, String(port));
    // A server on the service's port has none of its own, unless the body says so.
    const written = own === undefined && port !== 0 && port !== service.port ? { port } : {};
    const server = { ...body, address, ...written } as ServerInput;
    return this.#change({ op: 'put-server', service: serviceName, server }, options);
  }

  deleteServer(serviceName: string, serverText: string, options: ChangeOptions): Promise<ChangeViewBody> {
    const server = refOf(serviceNamed(this.#desired, serviceName), serverText);
    return this.#change({ op: 'delete-server', service: serviceName, server }, options);
  }

  setWeight(serviceName: string, serverText: string, weight: number, options: ChangeOptions): Promise<ChangeViewBody> {
    const server = refOf(serviceNamed(this.#desired, serviceName), serverText);
    return this.#change({ op: 'set-weight', service: serviceName, server, weight }, options);
  }

  /** `drain` or `undrain`, of one server or of all. */
  drain(
    op: 'drain' | 'undrain',
    serviceName: string,
    serverText: string | undefined,
    options: ChangeOptions,
  ): Promise<ChangeViewBody> {
    const service = serviceNamed(this.#desired, serviceName);
    const target = serverText === undefined ? {} : { server: refOf(service, serverText) };
    return this.#change({ op, service: serviceName, ...target }, options);
  }

  setSection(section: string, value: unknown, options: ChangeOptions): Promise<ChangeViewBody> {
    checkSection(section, value);
    return this.#change({ op: 'set-section', section: section as Section, value }, options);
  }

  reset(service: string | undefined, options: ChangeOptions): Promise<ChangeViewBody> {
    return this.#change(service === undefined ? { op: 'reset' } : { op: 'reset', service }, options);
  }

  async reload(options: ChangeOptions): Promise<ChangeViewBody> {
    return toView(await this.#desired.reload(options));
  }

  async #change(operation: Operation, options: ChangeOptions): Promise<ChangeViewBody> {
    return toView(await this.#desired.change([operation], options));
  }
}

function toView({ version, dryRun, changes, stale }: Awaited<ReturnType<DesiredState['change']>>): ChangeViewBody {
  return {
    version,
    dryRun,
    changes: {
      servicesAdded: [...changes.servicesAdded],
      servicesRemoved: [...changes.servicesRemoved],
      servicesChanged: [...changes.servicesChanged],
      otherChanged: changes.otherChanged,
    },
    stale: [...stale],
  };
}
